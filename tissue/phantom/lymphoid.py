"""Lymph node and spleen: follicles in a sea of lymphocytes, or in red pulp."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.latents import Latent
from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import blob, draw_fat, draw_vessel, fill_fibrous


def lymphoid(tissue: Tissue, donor: Generator, *, red_pulp: Latent) -> None:
    """Draw follicles in pulp; the organs differ in the share of `red_pulp` alone."""
    rng = tissue.rng
    red = red_pulp.draw(donor, rng)
    tissue.turn_axes(bend=8, grain=40)
    white = tissue.noise(75) + 0.3 * tissue.noise(25)
    pulp = np.clip(0.9 * (white + 4.2 * (red - 0.5)), 0, 1)  # red pulp; its border is soft
    _pulp(tissue, pulp, donor)
    for _ in range(rng.poisson(donor.uniform(0.5, 6) * (1.1 - red))):
        _follicle(tissue, donor.uniform(22, 48) * rng.uniform(0.6, 1.2), donor, red)
    for _ in range(rng.poisson(3.5 * red)):
        _trabecula(tissue, rng.gamma(2.0, 3.0) + 2)
    if red < 0.62:
        _node(tissue, donor, 0.62 - red)
    if rng.random() < 0.35 * red:
        draw_vessel(tissue, rng.uniform(4, 12), rng.uniform(2, 8), filled=0.3)


def _pulp(tissue: Tissue, red: Field, donor: Generator) -> None:
    """Fill the tissue with lymphocytes, in red pulp with sinuses between cords of cells."""
    # Cords and sinuses wind through the section: uneven clumps of nuclei on a pale ground.
    cords = 0.75 * tissue.noise(donor.uniform(1.8, 3.0)) + 0.35 * tissue.noise(4.5)
    sinus = np.clip(0.3 - cords - donor.uniform(0.0, 0.7), 0, 1.2)
    blood = np.clip(0.7 * tissue.noise(3) + 0.4 * tissue.noise(30) - 0.5, 0, 1)
    # Antibodies tell the cells of red pulp from lymphocytes.
    body = 1.2 - 0.75 * red * sinus + 0.08 * tissue.noise(45)
    tissue.epithelium += 0.85 * red * body
    tissue.stroma += (1 - 0.85 * red) * body
    pale = np.clip(0.8 * tissue.noise(5) + tissue.noise(38) - 0.3, 0, 1) * (1 - red)
    tissue.stroma *= 1 - 0.35 * pale  # paracortex
    tissue.content += 0.5 * red * blood
    clumped = np.clip(1 - red * np.clip(0.5 - 0.55 * cords, 0, 0.95), 0, 1)
    mottled = np.clip(1 - 0.4 * pale + 0.12 * tissue.noise(9), 0, 1)
    tissue.add_nuclei(clumped * mottled, spacing=donor.uniform(2.6, 3.1), dark=1.05)


def _follicle(tissue: Tissue, radius: float, donor: Generator, red: float) -> None:
    """Draw a follicle: a mantle, often a pale germinal centre, sometimes an artery."""
    rng = tissue.rng
    inside = blob(tissue, radius, stretch=1.4, wobble=0.08, within=165)
    mantle = donor.uniform(5, 13)
    pale = rng.random() < 0.8 - 0.6 * red
    germinal = tissue.mask(0.3 * (inside - mantle)) * pale
    follicle = tissue.carve(0.25 * inside + 0.3 * tissue.noise(6))
    tissue.stroma += follicle * (1.15 - 0.15 * germinal)
    tissue.add_nuclei(follicle * (1 - germinal), spacing=2.5, dark=1.15)
    tissue.add_nuclei(0.75 * germinal, spacing=3.2, dark=0.85)


def _trabecula(tissue: Tissue, radius: float) -> None:
    """Draw a pale piece of fibrous tissue or an artery, cut at some angle."""
    inside = blob(tissue, radius, stretch=3.0, wobble=0.25, within=175)
    trabecula = tissue.carve(inside)
    tissue.stroma += 0.75 * trabecula * (0.9 + 0.15 * tissue.noise(3))
    tissue.add_nuclei(0.35 * trabecula, spacing=4.0, dark=0.85)
    if tissue.rng.random() < 0.35:
        tissue.carve(inside - 0.62 * radius)


def _node(tissue: Tissue, donor: Generator, share: float) -> None:
    """Draw what a spleen lacks: sinuses along cords, the hilum's fat, and the capsule."""
    rng = tissue.rng
    if donor.random() < 0.8 * share + 0.1:  # medulla: cords with white sinuses between
        here = np.clip(2 * (tissue.noise(80) - 0.3), 0, 1)
        cords = tissue.labyrinth(donor.uniform(18, 35))
        sinus = np.clip(2 * (0.5 - np.abs(cords + 0.3 * tissue.noise(6))), 0, 1) * here
        tissue.stroma *= 1 - 0.8 * sinus
        tissue.clear_nuclei(sinus * np.clip(0.6 + 0.5 * tissue.noise(2), 0, 1))
    if rng.random() < 0.35:
        inside = tissue.v - rng.uniform(70, 175) + 10 * tissue.noise(60)
        capsule = tissue.carve(inside) * tissue.mask(donor.uniform(3, 10) - inside)
        fill_fibrous(tissue, capsule, dense=0.7)
        draw_fat(tissue, inside - donor.uniform(8, 14), donor.uniform(11, 17))
    if rng.random() < 0.14:  # fat grows into old nodes
        fatty = 9 * (tissue.noise(55) - rng.uniform(0.7, 1.6)) + 3 * tissue.noise(9)
        draw_fat(tissue, fatty, donor.uniform(10, 14))
    if rng.random() < 0.22:
        across = tissue.v - rng.uniform(-130, 100) + 10 * tissue.noise(50)
        band = tissue.carve(rng.uniform(2, 8) + 3 * tissue.noise(30) - np.abs(across))
        fill_fibrous(tissue, band, dense=0.1)
