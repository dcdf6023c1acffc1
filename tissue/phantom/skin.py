"""Skin: layered epidermis with rete ridges over dermis, much of the picture left empty."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import voronoi
from tissue.phantom.latents import Latent
from tissue.phantom.layers import Field, Tissue


def skin(tissue: Tissue, donor: Generator, *, anogenital: Latent) -> None:
    """Draw epidermis over dermis.

    Anogenital skin is thicker, deeper ridged and more cellular.
    """
    rng = tissue.rng
    kind = anogenital.draw(donor, rng)
    thick = donor.uniform(11, 17) + 30 * kind
    ridges, pitch = donor.uniform(2, 8) + 32 * kind, donor.uniform(20, 40)
    horn = donor.uniform(4, 11) * (1.3 - 1.2 * kind)
    tissue.turn_axes(bend=14, grain=120)
    depth = tissue.v - rng.uniform(-110, 60) + 3 * tissue.noise(25)  # below the surface
    along = tissue.u / pitch + 0.5 * tissue.noise(50)
    deep = thick + ridges * np.abs(np.sin(np.pi * along)) * (0.7 + 0.4 * tissue.noise(45))
    epidermis = tissue.mask(depth) * tissue.mask(deep - depth)
    share = np.clip(depth / np.maximum(deep, 1), 0, 1)
    tissue.epithelium += epidermis * (0.85 + 0.3 * share)
    cells = voronoi(tissue, spacing=(6, 5.2), jitter=0.4)
    tissue.border += 0.3 * epidermis * tissue.mask(0.9 - cells.edge)
    tissue.add_nuclei(epidermis * (0.35 + 0.6 * share**2), spacing=4.0)
    flakes = np.clip(2.2 * tissue.fibres(30, 2) - 0.3, 0, 1)
    tissue.content += 0.9 * (tissue.mask(-depth) * tissue.mask(depth + horn) * flakes)
    _dermis(tissue, depth - deep, donor, kind)


def _dermis(tissue: Tissue, depth: Field, donor: Generator, kind: float) -> None:
    """Draw bundles of collagen, more cellular near the epidermis, and glands."""
    rng = tissue.rng
    dermis = tissue.mask(depth)
    bundle = donor.uniform(2.5, 5)
    across = tissue.v + 5 * tissue.noise(22)
    fibres = tissue.fibres(18, bundle, v=across) + 0.25 * tissue.noise(5)
    gaps = donor.uniform(0.2, 0.8)
    collagen = np.clip(1.1 + (fibres - 0.6) * 3 * gaps, 0, 1)
    tissue.stroma += 0.8 * dermis * collagen
    papillary = np.clip(1 - depth / 45, 0, 1)
    cellular = 0.1 + 0.35 * kind + (0.25 + 0.2 * kind) * papillary
    tissue.add_nuclei(dermis * cellular * collagen, spacing=4.3, dark=0.85, spindle=True)
    for _ in range(rng.poisson(0.8 + kind)):
        centre = (rng.uniform(-150, 150), rng.uniform(0, 160))
        radius = rng.uniform(5, 14)
        radii = (radius * rng.uniform(1, 1.6), radius)
        inside = tissue.ellipse(centre, radii, 0.25 * tissue.noise(9))
        gland = tissue.mask(inside) * dermis
        tissue.stroma *= 1 - gland
        tissue.clear_nuclei(gland)
        shell = gland * tissue.mask(5 - inside)
        tissue.epithelium += shell
        tissue.add_nuclei(0.9 * shell, spacing=3.2)
