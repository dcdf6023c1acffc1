"""Kidney: packed tubules, glomeruli in Bowman's space, and medullary rays."""

import numpy as np
from numpy.random import Generator

from stages.phantom.cellular import cells
from stages.phantom.tissue import Tissue


def kidney(tissue: Tissue, donor: Generator) -> None:
    """Draw tubules wall to wall, and glomeruli among them."""
    rng = tissue.rng
    width = donor.uniform(13, 19)
    open_ = donor.uniform(0.1, 0.5)
    between = donor.uniform(0.1, 0.9)
    striped = rng.random() < 0.3
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=9, grain=38)
    stretch = rng.uniform(2.2, 3.5) if striped else rng.uniform(1.3, 2.1)
    plan = cells(
        rng,
        tissue.u,
        tissue.v,
        spacing=(width * stretch, width),
        jitter=0.4,
        length=0.5 * width * (stretch - 0.6),
        turn=0.12 if striped else 0.9,
        weight=0.2,
    )
    wall = plan.edge - between - 0.45 * tissue.noise(6)
    lumen = width * 0.5 * plan.each(rng, 0.75 - open_, 1.15 - open_) + 0.8 * tissue.noise(4)
    body = tissue.soft(wall)
    skin = body * tissue.soft(lumen - wall)
    tone = plan.each(rng, 0.65, 1.25)
    tissue.epithelium += 1.35 * skin * tone
    tissue.border += 0.5 * tissue.soft(0.9 - np.abs(wall - lumen)) * body
    tissue.border += 0.25 * tissue.soft(0.8 - np.abs(wall - 0.7))
    tissue.stroma += 0.7 * (1 - body) * np.clip(0.7 + 0.6 * tissue.noise(4), 0, 1)
    tissue.sow(0.85 * skin * tissue.soft(wall - 1.5) * tissue.soft(5.5 - wall), spacing=4.6)
    tissue.sow(0.4 * (1 - body), spacing=3.6, dark=0.8)
    size = donor.uniform(19, 27)
    for _ in range(rng.poisson(0.5 if striped else 3.2)):
        _glomerulus(tissue, size * rng.uniform(0.8, 1.15), donor.uniform(0.6, 0.9))


def _glomerulus(tissue: Tissue, radius: float, dense: float) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-150, 150), rng.uniform(-150, 150))
    squash = (radius, radius * rng.uniform(0.8, 1.0))
    inside = tissue.disc(centre, squash, 0.05 * tissue.noise(12))
    whole = tissue.soft(inside)
    tissue.clear(whole)
    space = rng.uniform(0.03, 0.14) * radius
    tuft = tissue.soft(inside - 1.5 - space + 0.13 * radius * tissue.noise(7))
    capsule = tissue.soft(0.8 - np.abs(inside - 0.8))
    loops = np.clip(0.7 + 0.5 * tissue.noise(3.5), 0, 1)
    tissue.stroma += 1.1 * tuft * loops + 0.8 * capsule
    tissue.sow(dense * tuft * loops, spacing=3.4, dark=0.95)
    tissue.sow(0.6 * capsule, spacing=3.4, dark=0.8)
