"""Endometrium: tubular glands in stroma, fewer and flatter with age."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import cells
from tissue.phantom.tissue import Field, Tissue, texture


def endometrium(tissue: Tissue, donor: Generator, *, older: bool) -> None:
    """Draw glands in stroma. Age moves everything, and the two classes' ages overlap."""
    rng = tissue.rng
    age = float(np.clip(donor.normal(0.72 if older else 0.28, 0.19) + rng.normal(0, 0.08), 0, 1))
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=10, grain=70)
    above = rng.uniform(-90, 300) - 170 * age - tissue.v + 20 * tissue.noise(80)
    loose = np.clip(0.75 + (0.5 - 0.25 * age) * tissue.noise(4), 0, 1) * tissue.soft(above)
    tissue.stroma += loose
    dense = donor.uniform(0.45, 0.95) * (1 - 0.35 * age)
    tissue.sow(dense * loose, spacing=3.3, dark=0.95)
    _myometrium(tissue, tissue.soft(-above))
    _glands(tissue, donor, age, above)


def _myometrium(tissue: Tissue, where: Field) -> None:
    """Fill `where` with bundles of smooth muscle and clefts between them."""
    rng = tissue.rng
    fibres = texture(rng, tissue.u, tissue.v, (26, 4))
    clefts = texture(rng, tissue.u, tissue.v + 6 * tissue.noise(30), (45, 5))
    tissue.stroma += where * (0.65 + 0.5 * fibres) * np.clip(7 - 8 * clefts, 0, 1)
    tissue.sow(0.5 * where, spacing=4.2, dark=0.75, spindle=True)


def _glands(tissue: Tissue, donor: Generator, age: float, above: Field) -> None:
    """Put glands where `above` (the muscle, reference pixels) is positive."""
    rng = tissue.rng
    radius = donor.uniform(9, 17) * (1.15 - 0.4 * age)
    pitch = 2 * radius * (donor.uniform(1.15, 1.5) + 0.9 * age)
    thick = donor.uniform(4.0, 6.5) * (1.25 - 0.45 * age)
    wavy = donor.uniform(0.1, 0.45) * (1.3 - age)
    plan = cells(
        rng,
        tissue.u,
        tissue.v,
        spacing=(1.15 * pitch, pitch),
        jitter=0.42,
        length=radius * donor.uniform(0.2, 1.2),
        turn=donor.uniform(0.3, 1.6),
    )
    size = radius * plan.each(rng, 0.45, 1.15) * (1 + wavy * tissue.noise(7))
    here = (plan.each(rng, 0, 1) > 0.1 + 0.4 * age) & (above > 4)
    ring = np.where(here, size - plan.distance, -9)
    body = tissue.soft(ring)
    tissue.clear(body)
    tissue.epithelium += body * tissue.soft(thick - ring)
    tissue.border += 0.6 * body * tissue.soft(0.9 - np.abs(ring - thick))
    tissue.content += 0.35 * body * tissue.soft(ring - thick - 3) * (plan.each(rng, 0, 1) < 0.3)
    tissue.sow(0.95 * body * tissue.soft(0.72 * thick - ring), spacing=2.7, dark=1.05)
