"""Lymph node and spleen: follicles in a sea of lymphocytes, or in red pulp."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.tissue import Tissue, texture


def lymphoid(tissue: Tissue, donor: Generator, *, splenic: bool) -> None:
    """Draw follicles in pulp. The share of red pulp tells the organs apart, and overlaps."""
    rng = tissue.rng
    red = donor.normal(0.67 if splenic else 0.33, 0.18) + rng.normal(0, 0.1)
    red = float(np.clip(red, 0, 1))
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=8, grain=40)
    pulp = tissue.soft(4 * (tissue.noise(70) + 3.2 * (red - 0.5)))
    sinus = np.clip(
        tissue.noise(4.5) * 0.9 + tissue.noise(2.2) * 0.5 + donor.normal(-0.35, 0.2), 0, 1
    )
    tissue.stroma += 0.85 - 0.75 * pulp * sinus
    tissue.content += 0.5 * pulp * np.clip(tissue.noise(3) - 0.6, 0, 1)
    tissue.sow(0.95 - 0.5 * pulp - 0.3 * pulp * sinus, spacing=donor.uniform(2.7, 3.3))
    for _ in range(rng.poisson(donor.uniform(1, 6) * (1.25 - 0.7 * red))):
        _follicle(tissue, donor.uniform(18, 42) * rng.uniform(0.6, 1.2), donor, red)
    if rng.random() < 0.6:
        _trabecula(tissue, rng.uniform(3, 9))


def _follicle(tissue: Tissue, radius: float, donor: Generator, red: float) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-160, 160), rng.uniform(-160, 160))
    inside = tissue.disc(centre, (radius * rng.uniform(1, 1.5), radius), 0.1 * tissue.noise(16))
    whole = tissue.soft(0.4 * inside)
    mantle = donor.uniform(5, 12)
    centred = tissue.soft(0.35 * (inside - mantle)) * (rng.random() < 0.85 - 0.4 * red)
    tissue.clear(whole)
    tissue.stroma += whole * (0.95 - 0.15 * centred)
    tissue.sow(whole * (1 - centred), spacing=2.6, dark=1.1)
    tissue.sow(0.7 * centred, spacing=3.6, dark=0.8)
    if rng.random() < 0.6 * red:
        spot = tissue.disc(centre, (4, 3), 0.1 * tissue.noise(8))
        ring = tissue.soft(spot + 2)
        tissue.thin(ring)
        tissue.stroma *= 1 - tissue.soft(spot - 1)


def _trabecula(tissue: Tissue, width: float) -> None:
    rng = tissue.rng
    start = rng.uniform(-120, 60)
    across = tissue.v - rng.uniform(-130, 130) + 8 * tissue.noise(60)
    inside = width * np.clip((tissue.u - start) / 40, -1, 1) - np.abs(across)
    whole = tissue.soft(inside)
    tissue.clear(whole)
    fibres = texture(rng, tissue.u, tissue.v, (20, 3))
    tissue.stroma += whole * (0.55 + 0.4 * fibres)
    tissue.sow(0.4 * whole, spacing=4.2, dark=0.8, spindle=True)
