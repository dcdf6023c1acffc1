"""Lymph node and spleen: follicles in a sea of lymphocytes, or in red pulp."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.latents import Latent
from tissue.phantom.layers import Tissue


def lymphoid(tissue: Tissue, donor: Generator, *, red_pulp: Latent) -> None:
    """Draw follicles in pulp; the organs differ in the share of `red_pulp` alone."""
    rng = tissue.rng
    red = red_pulp.draw(donor, rng)
    tissue.turn_axes(bend=8, grain=40)
    pulp = tissue.mask(4 * (tissue.noise(70) + 3.2 * (red - 0.5)))
    sinus = 0.9 * tissue.noise(4.5) + 0.5 * tissue.noise(2.2) + donor.normal(-0.35, 0.2)
    sinus = np.clip(sinus, 0, 1)
    tissue.stroma += 0.85 - 0.75 * pulp * sinus
    tissue.content += 0.5 * pulp * np.clip(tissue.noise(3) - 0.6, 0, 1)
    tissue.add_nuclei(0.95 - 0.5 * pulp - 0.3 * pulp * sinus, spacing=donor.uniform(2.7, 3.3))
    for _ in range(rng.poisson(donor.uniform(1, 6) * (1.25 - 0.7 * red))):
        _follicle(tissue, donor.uniform(18, 42) * rng.uniform(0.6, 1.2), donor, red)
    if rng.random() < 0.6:
        _trabecula(tissue, rng.uniform(3, 9))


def _follicle(tissue: Tissue, radius: float, donor: Generator, red: float) -> None:
    """Draw a follicle: a mantle, often a pale germinal centre, sometimes an artery."""
    rng = tissue.rng
    centre = (rng.uniform(-160, 160), rng.uniform(-160, 160))
    inside = tissue.ellipse(centre, (radius * rng.uniform(1, 1.5), radius), 0.1 * tissue.noise(16))
    mantle = donor.uniform(5, 12)
    germinal = tissue.mask(0.35 * (inside - mantle)) * (rng.random() < 0.85 - 0.4 * red)
    follicle = tissue.carve(0.4 * inside)
    tissue.stroma += follicle * (0.95 - 0.15 * germinal)
    tissue.add_nuclei(follicle * (1 - germinal), spacing=2.6, dark=1.1)
    tissue.add_nuclei(0.7 * germinal, spacing=3.6, dark=0.8)
    if rng.random() < 0.6 * red:
        artery = tissue.ellipse(centre, (4, 3), 0.1 * tissue.noise(8))
        tissue.clear_nuclei(tissue.mask(artery + 2))
        tissue.stroma *= 1 - tissue.mask(artery - 1)


def _trabecula(tissue: Tissue, width: float) -> None:
    rng = tissue.rng
    start = rng.uniform(-120, 60)
    across = tissue.v - rng.uniform(-130, 130) + 8 * tissue.noise(60)
    inside = width * np.clip((tissue.u - start) / 40, -1, 1) - np.abs(across)
    trabecula = tissue.carve(inside)
    tissue.stroma += trabecula * (0.55 + 0.4 * tissue.fibres(20, 3))
    tissue.add_nuclei(0.4 * trabecula, spacing=4.2, dark=0.8, spindle=True)
