"""Kidney: tubules wall to wall, and glomeruli among them."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import Cells, Point, draw_vessel, somewhere, voronoi

APART = 62  # least distance between the centres of glomeruli, reference pixels


def kidney(tissue: Tissue, donor: Generator) -> None:
    """Draw proximal tubules, filled by their cells, distal ones, open, and glomeruli."""
    rng = tissue.rng
    width, swollen = donor.uniform(13, 19), donor.uniform(0, 1)
    open_share, interstitium = donor.uniform(0.1, 0.45), donor.uniform(0.0, 0.9)
    rays = rng.random() < 0.25  # tubules run in parallel towards the medulla
    tissue.turn_axes(bend=9, grain=60)
    stretch = rng.uniform(2.6, 4.5) if rays else rng.uniform(1.1, 1.6)
    tubules = voronoi(
        tissue,
        spacing=(width * stretch, width),
        jitter=0.45,
        length=0.4 * width * (stretch - 0.8),
        tilt=0.15 if rays else 1.5,
        weight=0.25,
    )
    _tubules(tissue, tubules, width=width, swollen=swollen, shares=(open_share, interstitium))
    count = rng.poisson(0.7) if rays else 1 + rng.poisson(donor.uniform(0.8, 4.5))
    _glomeruli(tissue, count, donor.uniform(18, 25), donor.uniform(0.14, 0.32))
    if rng.random() < 0.35:
        draw_vessel(tissue, rng.uniform(4, 14), rng.uniform(1.5, 7), filled=0.3)
    if rng.random() < 0.25:
        draw_vessel(tissue, rng.uniform(5, 16), rng.uniform(0.4, 1.2), filled=0.2)


def _tubules(
    tissue: Tissue, tubules: Cells, *, width: float, swollen: float, shares: tuple[float, float]
) -> None:
    """Draw the wall and the lumen of each tubule; `shares` are of open ones and of interstitium."""
    distal = tubules.uniform(0, 1) < shares[0]
    gap = 0.25 + shares[1] * (0.6 + 0.5 * tissue.noise(30)) + np.where(distal, 0.6, 0)
    inside = tubules.edge - gap - 0.3 * tissue.noise(5)
    body = tissue.mask(inside)
    bore = (
        0.5
        * width
        * np.where(distal, tubules.uniform(0.25, 0.6), tubules.uniform(-0.1, 0.6) - 0.35 * swollen)
    )
    ragged = np.where(distal, 0.5 * tissue.noise(5), 1.3 * tissue.noise(2.5))
    lumen = body * tissue.mask(np.minimum(bore - tubules.distance + ragged, inside - 2.2))
    lining = body - lumen
    strength = np.where(distal, tubules.uniform(0.95, 1.5), tubules.uniform(0.8, 1.15))
    outer = 0.85 + 0.3 * tissue.mask(3.5 - inside)
    tissue.epithelium += 1.15 * lining * strength * outer
    tissue.border += 0.35 * body * tissue.mask(1.0 - np.abs(bore - tubules.distance))
    tissue.content += 0.3 * lumen * (tubules.uniform(0, 1) < 0.12)
    tissue.stroma += (1 - body) * np.clip(0.55 + 0.4 * tissue.noise(5), 0.1, 1)
    crowded = np.where(distal, 1.0, 0.55)
    tissue.add_nuclei(crowded * lining * tissue.mask(5 - inside), spacing=4.3, dark=0.95)
    tissue.add_nuclei(0.5 * (1 - body), spacing=3.4, dark=0.85)


def _glomeruli(tissue: Tissue, count: int, radius: float, space: float) -> None:
    """Draw glomeruli, none on top of another."""
    placed: list[Point] = []
    for _ in range(4 * count):
        u, v = somewhere(tissue, 145)
        if len(placed) < count and all(np.hypot(u - a, v - b) > APART for a, b in placed):
            placed.append((u, v))
            size = radius * tissue.rng.uniform(0.75, 1.15)
            _glomerulus(tissue, (u, v), size, space * tissue.rng.uniform(0.6, 1.2))


def _glomerulus(tissue: Tissue, centre: Point, radius: float, space: float) -> None:
    """Draw a lobed tuft of capillaries, the space round it, and the capsule."""
    rng = tissue.rng
    inside = tissue.ellipse(centre, (radius, radius * rng.uniform(0.8, 1)), 0.05 * tissue.noise(14))
    tissue.carve(inside + 1)
    aside = rng.uniform(-0.6, 0.6, 2) * space * radius
    moved = (centre[0] + aside[0], centre[1] + aside[1])
    small = radius * (1 - space)
    lobed = tissue.ellipse(moved, (small, small), 0.09 * tissue.noise(8) + 0.05 * tissue.noise(4))
    tuft: Field = tissue.mask(np.minimum(lobed, inside - 1.2))
    capsule = tissue.mask(0.9 - np.abs(inside))
    loops = np.clip(0.72 + 0.3 * tissue.labyrinth(5), 0.1, 1)
    tissue.epithelium += 0.7 * tuft * loops
    tissue.stroma += 0.75 * tuft * loops + 0.9 * capsule
    tissue.add_nuclei(0.95 * tuft * loops, spacing=2.9, dark=1.05)
    tissue.add_nuclei(0.5 * capsule, spacing=3.4, dark=0.85)
