"""Three organs of the phantom that no class holds: cerebellum, testis and thyroid.

They are drawn by what draws the twelve classes, so that stain, damage, focus and light are theirs,
and only the tissue is foreign.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator

from tissue.phantom.core import ARCHITECTURES, draw_jpeg
from tissue.phantom.layers import Tissue
from tissue.phantom.plan import Core
from tissue.phantom.structures import draw_vessel, fill_fibrous, voronoi

DONORS = 12  # of each organ
CORES = 3  # of each donor, each on a slide and with an antibody of its own


def cerebellum(tissue: Tissue, donor: Generator) -> None:
    """Draw a folium: pale molecular layer, a row of Purkinje cells, dark granules, white matter."""
    rng = tissue.rng
    thick, packed = donor.uniform(70, 110), donor.uniform(0.75, 1.0)
    tissue.turn_axes(bend=14, grain=120)
    # Folia are waves of the surface: molecular layers of neighbours meet at a cleft.
    across = tissue.v + rng.uniform(-60, 60) + 12 * np.sin(tissue.u / rng.uniform(45, 80))
    depth = np.abs(across) - rng.uniform(0, 1.5)
    granular = depth - thick + 4 * tissue.noise(30)
    white = granular - donor.uniform(50, 90)
    grain = np.clip(0.85 + 0.12 * tissue.noise(2.2), 0, 1)
    inner, deep = tissue.mask(granular), tissue.mask(white + 5 * tissue.noise(14))
    molecular = tissue.mask(depth) - inner
    tissue.stroma += 0.75 * molecular * grain + 0.4 * (inner - deep) + 0.55 * deep * grain
    tissue.add_nuclei(0.13 * molecular, spacing=5.5, dark=0.8)
    clumps = np.clip(1.05 - 0.6 * np.clip(tissue.labyrinth(11) - 0.7, 0, 1), 0, 1)
    tissue.add_nuclei(packed * clumps * (inner - deep), spacing=2.3, dark=1.1)
    tissue.add_nuclei(0.3 * deep, spacing=4.5, dark=0.8, spindle=True)
    # Purkinje cells stand in one row, apart from each other, where the layers meet.
    beads = voronoi(tissue, spacing=(13, 13), jitter=0.35)
    row = np.abs(granular) < 5
    large = tissue.mask(np.where(row, beads.uniform(2.6, 4.2), -1) - beads.distance)
    tissue.clear_nuclei(large)
    tissue.epithelium += 1.2 * large
    tissue.add_nuclei(tissue.mask(1.2 - beads.distance) * large, spacing=2.5, dark=0.9)
    for _ in range(rng.poisson(1.5)):
        draw_vessel(tissue, rng.uniform(2, 5), rng.uniform(0.4, 1.2), filled=0.3)


def testis(tissue: Tissue, donor: Generator) -> None:
    """Draw seminiferous tubules: a thin wall, germ cells in rings, a small lumen; loose between."""
    rng = tissue.rng
    width, layers = donor.uniform(50, 72), donor.uniform(0.5, 0.75)
    tissue.turn_axes(bend=8, grain=60)
    stretch = rng.uniform(1.0, 1.9)
    tubules = voronoi(
        tissue,
        spacing=(width * stretch, width),
        jitter=0.3,
        length=0.5 * width * (stretch - 0.9),
        tilt=1.5,
    )
    gap = donor.uniform(1.5, 5) + 1.5 * tissue.noise(25)
    inside = tubules.edge - gap + 0.4 * tissue.noise(8)
    tubule = tissue.mask(inside)
    loose = (1 - tubule) * np.clip(0.45 + 0.4 * tissue.noise(5), 0, 1)
    tissue.stroma += loose
    tissue.add_nuclei(0.35 * loose, spacing=4)
    leydig = (1 - tubule) * np.clip(1.5 * (tissue.noise(22) - 0.6), 0, 1)
    tissue.epithelium += 0.9 * leydig
    tissue.add_nuclei(0.8 * leydig, spacing=4.5, dark=0.9)
    wall = tubule * tissue.mask(2.2 - inside)
    tissue.stroma += 0.9 * wall
    tissue.add_nuclei(0.4 * wall, spacing=4, dark=0.8)
    # From the wall inwards: dark spermatogonia, large pale spermatocytes, small dark spermatids.
    reach = inside / (0.5 * width)
    germ = tubule * tissue.mask(inside - 2.2) * (reach < layers + 0.06 * tissue.noise(6))
    lumen = tubule * tissue.mask(inside - 2.2) - germ
    tissue.epithelium += 0.65 * germ * np.clip(0.9 + 0.15 * tissue.noise(3), 0, 1)
    tissue.content += 0.12 * lumen * np.clip(tissue.noise(4), 0, 1)
    tissue.add_nuclei(0.95 * germ * (reach < 0.22), spacing=3.4, dark=1.1)
    tissue.add_nuclei(0.9 * germ * (reach >= 0.22) * (reach < 0.45), spacing=4.3, dark=0.85)
    tissue.add_nuclei(germ * (reach >= 0.45), spacing=2.6, dark=0.95)


def thyroid(tissue: Tissue, donor: Generator) -> None:
    """Draw follicles of all sizes, wall to wall: a row of small cells round smooth colloid."""
    rng = tissue.rng
    width, lining = donor.uniform(26, 46), donor.uniform(2.2, 4.0)
    filled, dense = donor.uniform(0.75, 1.0), donor.uniform(0.35, 0.85)
    tissue.turn_axes(bend=6, grain=60)
    follicles = voronoi(
        tissue, spacing=(1.1 * width, width), jitter=0.5, length=5, tilt=1.6, weight=0.6
    )
    inside = follicles.edge - donor.uniform(0.6, 2.2) + 0.4 * tissue.noise(9)
    follicle = tissue.mask(inside)
    fill_fibrous(tissue, 1 - follicle, dense=0.5)
    bore = tissue.mask(inside - lining + 0.25 * tissue.noise(5))
    row = follicle - bore
    tissue.epithelium += 0.95 * row
    tissue.border += 0.3 * tissue.mask(0.7 - np.abs(inside - lining))
    tissue.add_nuclei(0.95 * row, spacing=2.7, dark=1.05)
    shrunk = np.where(follicles.uniform(0, 1) < 0.4, follicles.uniform(0.5, 4), 0)
    colloid = tissue.mask(inside - lining - shrunk + 0.3 * tissue.noise(6))
    full = follicles.uniform(0, 1) < filled
    tissue.content += dense * colloid * full * follicles.uniform(0.7, 1.2)
    if rng.random() < 0.35:
        draw_vessel(tissue, rng.uniform(4, 11), rng.uniform(1.5, 5), filled=0.4)


ORGANS: dict[str, Callable[[Tissue, Generator], None]] = {
    "cerebellum": cerebellum,
    "testis": testis,
    "thyroid": thyroid,
}


def draw_foreign(size: int, *, seed: int, donors: int = DONORS) -> Iterator[tuple[Core, bytes]]:
    """Yield the cores of the three organs, donor by donor, and their JPEG bytes."""
    for number, (organ, draw) in enumerate(ORGANS.items()):
        ARCHITECTURES[organ] = draw
        try:
            for donor in range(donors):
                for slide in range(CORES):
                    core = _core(organ, (seed, number, donor), slide, size)
                    yield core, draw_jpeg(core)
        finally:
            del ARCHITECTURES[organ]


def _core(organ: str, seed: tuple[int, ...], slide: int, size: int) -> Core:
    name = f"{organ}/{seed[2]:02d}_{slide}.jpg"
    seeds = ((*seed, 9), *((*seed, slide, kind) for kind in (6, 7, 8)))
    return Core(name, "foreign", organ, f"{organ} {seed[2]}", "", "", size, *seeds)
