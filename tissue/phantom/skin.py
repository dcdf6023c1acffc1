"""Skin: stratified epidermis with rete ridges over dermis, much of the frame left empty."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import cells
from tissue.phantom.tissue import Field, Tissue, texture


def skin(tissue: Tissue, donor: Generator, *, anogenital: bool) -> None:
    """Draw epidermis over dermis. Anogenital skin is thicker, deeper ridged, more cellular."""
    rng = tissue.rng
    kind = float(
        np.clip(donor.normal(0.72 if anogenital else 0.28, 0.18) + rng.normal(0, 0.06), 0, 1)
    )
    thick = donor.uniform(11, 17) + 30 * kind
    ridges, pitch = donor.uniform(2, 8) + 32 * kind, donor.uniform(20, 40)
    horn = donor.uniform(4, 11) * (1.3 - 1.2 * kind)
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=14, grain=120)
    surface = tissue.v - rng.uniform(-110, 60) + 3 * tissue.noise(25)
    along = tissue.u / pitch + 0.5 * tissue.noise(50)
    deep = thick + ridges * np.abs(np.sin(np.pi * along)) * (0.7 + 0.4 * tissue.noise(45))
    epidermis = tissue.soft(surface) * tissue.soft(deep - surface)
    dermis = tissue.soft(surface - deep)
    part = np.clip(surface / np.maximum(deep, 1), 0, 1)
    tissue.epithelium += epidermis * (0.85 + 0.3 * part)
    layer = cells(rng, tissue.u, tissue.v, spacing=(6, 5.2), jitter=0.4)
    tissue.border += 0.3 * epidermis * tissue.soft(0.9 - layer.edge)
    tissue.sow(epidermis * (0.35 + 0.6 * part**2), spacing=4.0)
    flakes = texture(rng, tissue.u, tissue.v, (30, 2))
    scale = tissue.soft(-surface) * tissue.soft(surface + horn) * np.clip(2.2 * flakes - 0.3, 0, 1)
    tissue.content += 0.9 * scale
    _dermis(tissue, dermis, surface - deep, donor, kind)


def _dermis(tissue: Tissue, dermis: Field, depth: Field, donor: Generator, kind: float) -> None:
    rng = tissue.rng
    bundle = donor.uniform(2.5, 5)
    across = tissue.v + 5 * tissue.noise(22)
    fibres = texture(rng, tissue.u, across, (18, bundle)) + 0.25 * tissue.noise(5)
    gaps = donor.uniform(0.2, 0.8)
    collagen = np.clip(1.1 + (fibres - 0.6) * 3 * gaps, 0, 1)
    tissue.stroma += 0.8 * dermis * collagen
    papillary = np.clip(1 - depth / 45, 0, 1)
    cellular = 0.1 + 0.35 * kind + (0.25 + 0.2 * kind) * papillary
    tissue.sow(dermis * cellular * collagen, spacing=4.3, dark=0.85, spindle=True)
    for _ in range(rng.poisson(0.8 + kind)):
        centre = (rng.uniform(-150, 150), rng.uniform(0, 160))
        radius = rng.uniform(5, 14)
        inside = tissue.disc(centre, (radius * rng.uniform(1, 1.6), radius), 0.25 * tissue.noise(9))
        gland = tissue.soft(inside) * dermis
        tissue.stroma *= 1 - gland
        tissue.thin(gland)
        shell = gland * tissue.soft(5 - inside)
        tissue.epithelium += shell
        tissue.sow(0.9 * shell, spacing=3.2)
