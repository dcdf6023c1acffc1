"""Endometrium: tubular glands in cellular stroma over muscle, fewer and flatter with age."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.latents import Latent
from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import Cells, draw_vessel, voronoi


def endometrium(tissue: Tissue, donor: Generator, *, ages: Latent) -> None:
    """Draw glands in stroma, often with muscle below or the surface above.

    Age, from 0 to 1, changes everything.
    """
    rng = tissue.rng
    age = ages.draw(donor, rng)
    # Before menstruation the glands are saw-toothed and wide, and the stroma is swollen.
    secretory = donor.random() < 0.55 * (1 - age)
    swollen = donor.uniform(0.2, 1.0) if secretory else donor.uniform(0, 0.4)
    tissue.turn_axes(bend=10, grain=70)
    above = rng.uniform(0, 420) - 170 * age - tissue.v + 16 * tissue.noise(80)  # the muscle
    _stroma(tissue, tissue.mask(above), swollen, donor.uniform(0.65, 1) * (1 - 0.25 * age))
    _myometrium(tissue, tissue.mask(-above))
    _glands(tissue, donor, age, above, secretory=secretory)
    for _ in range(rng.poisson(0.8 + age)):
        draw_vessel(tissue, rng.uniform(2, 6), rng.uniform(1, 4), filled=0.3)
    if rng.random() < 0.25:
        _surface(tissue, tissue.v + rng.uniform(40, 160), donor.uniform(4, 7))


def _stroma(tissue: Tissue, mask: Field, swollen: float, dense: float) -> None:
    """Fill `mask` with small cells, apart from each other where it is swollen."""
    loose = 0.85 + 0.26 * tissue.noise(2.8) - 0.7 * swollen * np.clip(tissue.labyrinth(5.4), 0, 1.3)
    loose = np.clip(loose, 0, 1.15) * mask
    tissue.stroma += loose
    tissue.add_nuclei(dense * loose, spacing=3.0, dark=1.05)


def _myometrium(tissue: Tissue, mask: Field) -> None:
    """Fill `mask` with bundles of smooth muscle and clefts between them."""
    bundles = tissue.fibres(40, 6, v=tissue.v + 9 * tissue.noise(40))
    clefts = tissue.fibres(60, 5, v=tissue.v + 6 * tissue.noise(30))
    tissue.stroma += mask * (0.85 + 0.3 * bundles) * np.clip(8 - 9 * clefts, 0, 1)
    tissue.add_nuclei(0.5 * mask, spacing=4.0, dark=0.8, spindle=True)


def _glands(tissue: Tissue, donor: Generator, age: float, above: Field, *, secretory: bool) -> None:
    """Draw glands where `above`, the distance to the muscle, is positive."""
    rng = tissue.rng
    radius = donor.uniform(11, 17) * (1.1 - 0.3 * age) * (1.2 if secretory else 1)
    pitch = 2 * radius * (donor.uniform(1.05, 1.6) + 0.7 * age)
    straight = rng.random() < 0.3  # cut lengthwise
    reach = rng.uniform(2, 6) if straight else donor.uniform(0.2, 1.1)
    cells = voronoi(
        tissue,
        spacing=(pitch, pitch + 1.2 * reach * radius),
        jitter=0.46,
        length=reach * radius,
        tilt=0.25 if straight else 1.5,
        axes=(tissue.v, tissue.u) if straight else None,
    )
    here = (cells.uniform(0, 1) > 0.08 + 0.3 * age) & (above > 4)
    sizes = cells.uniform(0.65, 1.1)
    if age > 0.5:  # some old glands have widened to cysts
        sizes = np.where(cells.uniform(0, 1) < 0.12, 1.7, sizes)
    inside = np.minimum(np.where(here, radius * sizes - cells.distance, -9), cells.edge - 1)
    teeth = (0.32 if secretory else 0.17) * radius
    inside = inside + teeth * (0.7 * tissue.noise(0.5 * radius + 2) - 0.2)
    thick = donor.uniform(5.5, 8.5) * (1.15 - 0.4 * age)
    halo = donor.uniform(1, 4) if donor.random() < 0.35 else 0.0  # tissue shrinks as it is fixed
    _line_glands(tissue, cells, inside, np.minimum(thick, 0.7 * radius * sizes), halo)


def _line_glands(tissue: Tissue, cells: Cells, inside: Field, thick: Field, halo: float) -> None:
    """Draw epithelium, a lumen that is empty or holds secretion, and the cleft round a gland."""
    if halo:
        tissue.carve(np.minimum(inside + halo * (0.6 + 0.7 * tissue.noise(15)), inside + 6))
    gland = tissue.carve(inside)
    lining = gland * tissue.mask(thick - inside + 0.5 * tissue.noise(3))
    tissue.epithelium += 1.5 * lining
    tissue.border += 0.5 * gland * tissue.mask(0.9 - np.abs(inside - thick))
    filled = np.where(cells.uniform(0, 1) < 0.4, cells.uniform(0.2, 0.8), 0)
    tissue.content += filled * gland * tissue.mask(inside - thick - 1.5)
    tissue.add_nuclei(lining * tissue.mask(0.75 * thick - inside), spacing=2.2, dark=1.15)


def _surface(tissue: Tissue, inside: Field, thick: float) -> None:
    """End the tissue where `inside` is negative, in a row of epithelium."""
    inside = inside + 4 * tissue.noise(40)
    tissue.clear(tissue.mask(-inside))
    row = tissue.mask(inside) * tissue.mask(thick - inside)
    tissue.epithelium += 0.8 * row
    tissue.add_nuclei(row, spacing=2.5, dark=1.1)
