"""Lung: walls of alveoli round air, parts that have collapsed, and vessels and airways."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import blob, draw_vessel, fill_fibrous, voronoi


def lung(tissue: Tissue, donor: Generator) -> None:
    """Draw alveoli of two sizes with wavy, broken walls."""
    rng = tissue.rng
    size, wall = donor.uniform(17, 32), donor.uniform(1.1, 2.2)
    collapse = donor.uniform(-0.9, 1.1) + rng.normal(0, 0.35)
    squeezed = donor.uniform(1, 1.5) if rng.random() < 0.6 else donor.uniform(1.5, 3.2)
    tissue.turn_axes(bend=9, grain=26)
    tissue.u = tissue.u + 2.2 * tissue.noise(8)
    tissue.v = tissue.v + 2.2 * tissue.noise(8)
    alveoli = voronoi(tissue, spacing=(size * squeezed, size), jitter=0.49, weight=0.5)
    ducts = voronoi(
        tissue, spacing=(4.2 * size * squeezed, 4.2 * size), jitter=0.49, length=size, tilt=1.5
    )
    _walls(tissue, alveoli.edge, ducts.edge, size, (wall, collapse))
    for _ in range(rng.poisson(0.9)):
        draw_vessel(tissue, rng.uniform(4, 13), rng.uniform(1.5, 5), filled=0.6)
    if rng.random() < 0.4:
        draw_vessel(tissue, rng.uniform(18, 55), rng.uniform(4, 14), filled=0.6)
    if rng.random() < 0.22:
        _airway(tissue, rng.uniform(12, 34))
    if rng.random() < 0.15:
        _septum(tissue, rng.uniform(4, 16))


def _walls(
    tissue: Tissue, alveolus: Field, duct: Field, size: float, shape: tuple[float, float]
) -> None:
    """Draw walls; `shape` is their thickness and how far the lung has collapsed.

    Far from the border of its `duct` an alveolus is open: the middle of the duct is air.
    """
    wall, collapse = shape
    filled = np.clip(tissue.noise(52) + 0.35 * tissue.noise(24) + collapse, -1.5, 2.4)
    thick = wall * (1 + 0.35 * tissue.noise(6)) + 2.0 * np.maximum(filled, 0)
    air = duct - size * (1.1 + 0.35 * filled) + 4 * tissue.noise(14)
    thick -= np.clip(0.35 * air, 0, 9)
    thick -= 6 * np.clip(tissue.noise(20) - 1.4, 0, 1)  # torn walls
    walls = tissue.mask(thick - alveolus + 0.5 * tissue.noise(3))
    tissue.stroma += 1.1 * walls * np.clip(0.85 + 0.3 * tissue.noise(4), 0.3, 1.2)
    tissue.epithelium += 0.35 * walls
    tissue.add_nuclei(0.75 * walls, spacing=3.3, dark=0.95)
    loose = (1 - walls) * np.clip(tissue.noise(40) - 0.6, 0, 0.08)
    tissue.add_nuclei(loose, spacing=4.5, dark=1.1)  # macrophages


def _airway(tissue: Tissue, radius: float) -> None:
    """Draw a bronchus: folded epithelium round air, muscle, and fibrous tissue."""
    inside = blob(tissue, radius, stretch=1.5, wobble=0.1)
    folded = inside + 0.16 * radius * tissue.noise(0.35 * radius + 3)
    around = tissue.carve(inside + 0.6 * radius + 5) - tissue.mask(folded)
    fill_fibrous(tissue, around, dense=0.7, cells=0.45)
    lining = tissue.mask(folded) * tissue.mask(6 - folded)
    tissue.epithelium += 1.15 * lining
    tissue.add_nuclei(0.95 * lining * tissue.mask(4.5 - folded), spacing=2.7)
    band = tissue.mask(2.5 - np.abs(folded + 8))
    tissue.stroma += 0.4 * band * around


def _septum(tissue: Tissue, width: float) -> None:
    """Draw a sheet of fibrous tissue from one side to the other."""
    across = np.abs(tissue.v - tissue.rng.uniform(-140, 140)) - 0.25 * width * tissue.noise(20)
    fill_fibrous(tissue, tissue.carve(width - across), dense=0.6, cells=0.4)
