"""Skin: layered epidermis over dermis with hairs and glands, much of the picture left empty."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.latents import Latent
from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import blob, voronoi


def skin(tissue: Tissue, donor: Generator, *, anogenital: Latent) -> None:
    """Draw epidermis over dermis.

    Anogenital skin is thicker, deeper ridged and more cellular, and has fewer hairs.
    """
    rng = tissue.rng
    kind = anogenital.draw(donor, rng)
    thick = donor.uniform(9, 16) + 24 * kind
    ridges, pitch = donor.uniform(1, 7) + 22 * kind, donor.uniform(22, 48)
    tissue.turn_axes(bend=13, grain=120)
    folded = rng.uniform(2, 16) if rng.random() < 0.4 else 2.0
    surface = rng.uniform(-140, 60) if rng.random() < 0.75 else rng.uniform(40, 100)
    depth = tissue.v - surface + folded * tissue.noise(45) + 1.2 * tissue.noise(12)
    along = tissue.u / pitch + 0.6 * tissue.noise(50)
    deep = thick + ridges * np.abs(np.sin(np.pi * along)) * (0.5 + 0.5 * tissue.noise(35))
    deep = np.maximum(deep + tissue.noise(7), 5)
    _dermis(tissue, depth - deep, donor, kind)
    for _ in range(rng.poisson(1.1 * (1 - kind))):
        _follicle(tissue, rng.uniform(9, 22), depth - deep)
    for _ in range(rng.poisson(0.7)):
        _sebaceous(tissue, rng.uniform(14, 34), depth - deep)
    for _ in range(rng.poisson(0.6)):
        _sweat_glands(tissue, rng.uniform(14, 26), depth - deep)
    _epidermis(tissue, depth, deep, kind)
    _horn(tissue, -depth, donor.uniform(1, 12) * (1.25 - kind))


def _epidermis(tissue: Tissue, depth: Field, deep: Field, kind: float) -> None:
    """Draw layers of cells, crowded and dark at the bottom, flat and pale at the top."""
    epidermis = tissue.carve(np.minimum(depth, deep - depth))
    share = np.clip(depth / deep, 0, 1)
    cells = voronoi(tissue, spacing=(6, 5.2), jitter=0.4)
    tissue.epithelium += epidermis * (1.5 - 0.35 * kind + 0.4 * share)
    tissue.border += 0.3 * epidermis * tissue.mask(0.9 - cells.edge)
    tissue.add_nuclei(epidermis * (0.35 + 0.65 * share**2), spacing=3.3, dark=0.75)
    basal = epidermis * tissue.mask(4 - (deep - depth))
    tissue.epithelium += 0.3 * basal
    tissue.add_nuclei(0.9 * basal, spacing=2.8, dark=1.05)


def _horn(tissue: Tissue, above: Field, height: float) -> None:
    """Draw thin sheets of horn on the surface, some of which have come off."""
    lifted = above - np.maximum(2.5 * height * tissue.noise(75), 0) + 1.5 * tissue.noise(14)
    sheets = np.clip(4 * tissue.fibres(60, 2.6, v=lifted) - 2.1, 0, 1)
    here = tissue.mask(above) * tissue.mask(lifted + 1) * tissue.mask(height - lifted)
    tissue.content += 0.9 * here * sheets


def _dermis(tissue: Tissue, depth: Field, donor: Generator, kind: float) -> None:
    """Draw coarse bundles of collagen with white gaps, more cellular near the epidermis."""
    dermis = tissue.mask(depth)
    papillary = np.clip(1 - depth / 40, 0, 1)
    bundle = donor.uniform(2.4, 4.8)
    fibres = tissue.fibres(3.2 * bundle, bundle, v=tissue.v + 4 * tissue.noise(20))
    fibres = fibres + 0.3 * tissue.noise(2.6) + 0.1 * tissue.noise(30)
    gaps = donor.uniform(0.0, 0.42)
    collagen = np.clip(2.2 * (fibres - gaps + 0.35 * papillary), 0, 1)
    tissue.stroma += dermis * collagen * (0.85 + 0.25 * papillary)
    cellular = 0.26 + 0.2 * kind + (0.2 + 0.25 * kind) * papillary
    tissue.add_nuclei(dermis * cellular * collagen, spacing=3.9, dark=1.25, spindle=True)
    clumps = np.clip(tissue.noise(14) - 1.3, 0, 1)  # round small vessels
    tissue.add_nuclei(dermis * clumps, spacing=3.0, dark=1.0)


def _follicle(tissue: Tissue, radius: float, depth: Field) -> None:
    """Draw a hair follicle in rings: sheath, dark cells, pale cells, hair."""
    inside = np.minimum(blob(tissue, radius, stretch=2.2, wobble=0.06, within=130), depth - 4)
    hair = radius * tissue.rng.uniform(0.4, 0.7)
    sheath = tissue.carve(inside + 4) - tissue.mask(inside)
    tissue.stroma += 0.9 * sheath
    body = tissue.mask(inside) * tissue.mask(hair - inside)
    tissue.epithelium += body * (1.5 - 0.4 * np.clip(inside / hair, 0, 1))
    tissue.add_nuclei(0.9 * body * tissue.mask(0.7 * hair - inside), spacing=2.9)
    tissue.content += 0.6 * tissue.mask(inside - hair - 2) * (tissue.rng.random() < 0.5)


def _sebaceous(tissue: Tissue, radius: float, depth: Field) -> None:
    """Draw lobes of pale, foamy cells with a dark rim."""
    inside = np.minimum(blob(tissue, radius, stretch=1.6, wobble=0.25, within=130), depth - 4)
    gland = tissue.carve(inside)
    cells = voronoi(tissue, spacing=(9, 8), jitter=0.4)
    rim = tissue.mask(3.5 - inside) + 0.75 * tissue.mask(0.9 - cells.edge)
    tissue.epithelium += gland * np.clip(0.35 + rim, 0, 1.3)
    tissue.add_nuclei(gland * tissue.mask(3.2 - inside), spacing=3.0)
    tissue.add_nuclei(gland * tissue.mask(cells.edge - 3.2), spacing=3.5, dark=0.9)


def _sweat_glands(tissue: Tissue, radius: float, depth: Field) -> None:
    """Draw a coil of small ducts, cut many times."""
    region = blob(tissue, radius, stretch=1.5, wobble=0.2, within=130)
    coil = voronoi(tissue, spacing=(10, 9), jitter=0.4)
    inside = np.minimum(np.minimum(4.4 - coil.distance, region), depth - 6)
    duct = tissue.carve(inside)
    ring = duct * tissue.mask(2.9 - inside)
    tissue.epithelium += 1.2 * ring
    tissue.add_nuclei(ring, spacing=2.8)
