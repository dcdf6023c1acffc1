"""Lung: alveoli as lace, with bronchioles and vessels."""

import numpy as np
from numpy.random import Generator

from stages.phantom.cellular import cells
from stages.phantom.tissue import Tissue


def lung(tissue: Tissue, donor: Generator) -> None:
    """Draw thin alveolar walls, now and then collapsed, and large airways or vessels."""
    rng = tissue.rng
    size, wall = donor.uniform(20, 60), donor.uniform(0.5, 1.7)
    collapse = donor.uniform(-1.2, 0.6) + rng.normal(0, 0.3)
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=6, grain=16)
    stretch = rng.uniform(1, 2.2)
    plan = cells(rng, tissue.u, tissue.v, spacing=(size * stretch, size), jitter=0.49, weight=0.4)
    thick = wall * (1 + 0.6 * tissue.noise(7)) + 2.5 * np.maximum(tissue.noise(45) + collapse, 0)
    broken = tissue.soft(2.2 * (tissue.noise(28) - 1.0))
    lace = tissue.soft(thick - plan.edge + 0.9 * tissue.noise(3)) * (1 - broken)
    tissue.stroma += 1.1 * lace
    tissue.epithelium += 0.3 * lace
    tissue.border += 0.3 * lace * tissue.soft(1.0 - np.abs(thick - plan.edge))
    tissue.sow(0.7 * lace, spacing=3.6)
    if rng.random() < 0.6:
        _tube(tissue, rng.uniform(12, 50), donor.uniform(5, 15), airway=rng.random() < 0.5)
    if rng.random() < 0.4:
        _tube(tissue, rng.uniform(6, 20), donor.uniform(2, 6), airway=False)


def _tube(tissue: Tissue, radius: float, wall: float, *, airway: bool) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-120, 120), rng.uniform(-120, 120))
    ripple = 0.06 * tissue.noise(10 if airway else 30)
    inside = tissue.disc(centre, (radius * rng.uniform(1, 1.7), radius), ripple)
    whole = tissue.soft(inside + wall)
    tissue.clear(whole)
    lumen = tissue.soft(inside)
    coat = whole - lumen
    tissue.stroma += 1.25 * coat * np.clip(0.8 + 0.2 * tissue.noise(3), 0, 1)
    tissue.sow(0.6 * coat, spacing=3.6, dark=0.85)
    if airway:
        lining = tissue.soft(inside + 4) - lumen
        tissue.epithelium += lining
        tissue.sow(0.9 * lining, spacing=3.0)
    elif rng.random() < 0.5:
        tissue.content += lumen * tissue.soft(inside - 1) * rng.uniform(0.5, 1.2)
