"""Endometrium: tubular glands in stroma, fewer and flatter with age."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import voronoi
from tissue.phantom.latents import Latent
from tissue.phantom.layers import Field, Tissue


def endometrium(tissue: Tissue, donor: Generator, *, ages: Latent) -> None:
    """Draw glands in stroma over muscle; age, from 0 to 1, changes everything."""
    rng = tissue.rng
    age = ages.draw(donor, rng)
    tissue.turn_axes(bend=10, grain=70)
    above = rng.uniform(-90, 300) - 170 * age - tissue.v + 20 * tissue.noise(80)  # the muscle
    loose = np.clip(0.75 + (0.5 - 0.25 * age) * tissue.noise(4), 0, 1) * tissue.mask(above)
    tissue.stroma += loose
    dense = donor.uniform(0.45, 0.95) * (1 - 0.35 * age)
    tissue.add_nuclei(dense * loose, spacing=3.3, dark=0.95)
    _myometrium(tissue, tissue.mask(-above))
    _glands(tissue, donor, age, above)


def _myometrium(tissue: Tissue, mask: Field) -> None:
    """Fill `mask` with bundles of smooth muscle and clefts between them."""
    bundles = tissue.fibres(26, 4)
    clefts = tissue.fibres(45, 5, v=tissue.v + 6 * tissue.noise(30))
    tissue.stroma += mask * (0.65 + 0.5 * bundles) * np.clip(7 - 8 * clefts, 0, 1)
    tissue.add_nuclei(0.5 * mask, spacing=4.2, dark=0.75, spindle=True)


def _glands(tissue: Tissue, donor: Generator, age: float, above: Field) -> None:
    """Draw glands where `above`, the distance to the muscle, is positive."""
    radius = donor.uniform(9, 17) * (1.15 - 0.4 * age)
    pitch = 2 * radius * (donor.uniform(1.15, 1.5) + 0.9 * age)
    thick = donor.uniform(4.0, 6.5) * (1.25 - 0.45 * age)
    wavy = donor.uniform(0.1, 0.45) * (1.3 - age)
    length, tilt = radius * donor.uniform(0.2, 1.2), donor.uniform(0.3, 1.6)
    cells = voronoi(tissue, spacing=(1.15 * pitch, pitch), jitter=0.42, length=length, tilt=tilt)
    size = radius * cells.uniform(0.45, 1.15) * (1 + wavy * tissue.noise(7))
    here = (cells.uniform(0, 1) > 0.1 + 0.4 * age) & (above > 4)
    inside = np.where(here, size - cells.distance, -9)
    gland = tissue.carve(inside)
    tissue.epithelium += gland * tissue.mask(thick - inside)
    tissue.border += 0.6 * gland * tissue.mask(0.9 - np.abs(inside - thick))
    filled = cells.uniform(0, 1) < 0.3
    tissue.content += 0.35 * gland * tissue.mask(inside - thick - 3) * filled
    tissue.add_nuclei(0.95 * gland * tissue.mask(0.72 * thick - inside), spacing=2.7, dark=1.05)
