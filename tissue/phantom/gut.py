"""Colon and small intestine: crypts, villi, and the layers below them.

The mucosa lies at small v. At larger v follow its muscle (muscularis mucosae) and the submucosa.
"""

import numpy as np
from numpy.random import Generator

from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import Cells, blob, draw_fat, voronoi


def colon(tissue: Tissue, donor: Generator) -> None:
    """Draw crypts with goblet cells, cut across or lengthwise, over submucosa."""
    rng = tissue.rng
    radius, gap = donor.uniform(10, 15), donor.uniform(1.02, 1.3)
    goblets, cellular = donor.uniform(0.5, 1.0), donor.uniform(0.55, 0.95)
    lengthwise = rng.random() < donor.uniform(0.1, 0.7)
    tissue.turn_axes(bend=9)
    bottom = rng.uniform(-50, 150) if rng.random() < 0.75 else 400.0
    mucosa = bottom - tissue.v + 7 * tissue.noise(60)
    if rng.random() < 0.15:  # the next fold of the mucosa lies on the other side
        mucosa = np.maximum(mucosa, tissue.v - bottom - rng.uniform(50, 110))
    _lamina_propria(tissue, cellular)
    length = radius * (rng.uniform(1.5, 3.6) if lengthwise else rng.uniform(0.1, 0.9))  # along v
    spacing, axes = (2 * radius * gap + 1.5 * length, 2 * radius * gap), (tissue.v, tissue.u)
    cells = voronoi(tissue, spacing=spacing, jitter=0.26, length=length, tilt=0.2, axes=axes)
    _crypts(tissue, cells, mucosa - 3, radius=radius, goblets=goblets)
    if rng.random() < 0.5:
        top = tissue.v - bottom + rng.uniform(110, 170) if bottom < 200 else tissue.v + 140
        _surface(tissue, top + 5 * tissue.noise(40), radius)
    if rng.random() < 0.18:
        _lymphoid_aggregate(tissue, bottom)
    _submucosa(tissue, -mucosa, donor)


def small_intestine(tissue: Tissue, donor: Generator) -> None:
    """Draw villi over a layer of crypts; some cores miss the villi and look like colon."""
    rng = tissue.rng
    width, gap = donor.uniform(13, 21), donor.uniform(1.0, 2.6)
    cellular = donor.uniform(0.55, 0.95)
    goblets = donor.uniform(0.3, 0.9)
    tissue.turn_axes(bend=10, grain=60)
    kind = rng.choice(["across", "along", "crypts"], p=[0.38, 0.3, 0.32])
    base = rng.uniform(-40, 130)
    if kind == "across" and rng.random() < 0.55:
        base = rng.uniform(130, 260)
    if kind == "crypts":
        base = rng.uniform(-330, -120)
    above = base - tissue.v + 5 * tissue.noise(30)  # where villi stand
    _lamina_propria(tissue, cellular)
    depth = rng.uniform(30, 70) if kind != "crypts" else rng.uniform(180, 420)
    radius = donor.uniform(6.5, 9.5) if kind != "crypts" else donor.uniform(9, 13)
    cells = voronoi(tissue, spacing=(2.4 * radius, 2.4 * radius), length=0.7 * radius, tilt=1.5)
    mucosa = np.minimum(-above, depth + above) - 2
    _crypts(tissue, cells, mucosa, radius=radius, goblets=goblets)
    if kind != "crypts":
        villi = _villi(tissue, above, width, gap, across=kind == "across")
        _line_villi(tissue, villi, above, thick=donor.uniform(6, 9), goblets=goblets)
    if rng.random() < 0.12:
        _lymphoid_aggregate(tissue, base + 40)
    _submucosa(tissue, -above - depth, donor)


def _lamina_propria(tissue: Tissue, cellular: float) -> None:
    """Fill the tissue with loose, cellular stroma."""
    loose = np.clip(0.5 + 0.5 * tissue.noise(2.8), 0, 1)
    tissue.stroma += 0.85 * loose
    tissue.add_nuclei(cellular * (0.45 + 0.55 * loose), spacing=3.3, dark=1.15)


def _crypts(tissue: Tissue, cells: Cells, mucosa: Field, *, radius: float, goblets: float) -> None:
    """Draw crypts in the mucosa: nuclei outside, mucus in goblet cells, a lumen in the middle."""
    size = radius * cells.uniform(0.78, 1.12)
    wobbly = size * (1 + 0.06 * tissue.noise(9)) - cells.distance
    inside = np.minimum(np.where(cells.uniform(0, 1) < 0.05, -1, wobbly), mucosa)
    inside = np.minimum(inside, cells.edge - 1)
    thick = 0.8 * radius
    crypt = tissue.carve(inside)
    drops = voronoi(tissue, spacing=(5.2, 5.2), jitter=0.4)
    mucus = tissue.mask(drops.uniform(0.8, 3.6) - drops.distance) * goblets
    mucus *= tissue.mask(inside - 0.3 * thick) * tissue.mask(thick - inside)
    tissue.epithelium += 1.5 * crypt * tissue.mask(thick - inside) * (1 - 0.9 * mucus)
    tissue.border += 0.4 * crypt * tissue.mask(1.2 - np.abs(inside - thick))
    tissue.add_nuclei(crypt * tissue.mask(0.42 * thick - inside), spacing=2.3, dark=1.1)


def _surface(tissue: Tissue, inside: Field, radius: float) -> None:
    """End the mucosa where `inside` is negative, in a row of surface epithelium."""
    inside = inside + 0.9 * radius * tissue.noise(1.9 * radius) + 2 * tissue.noise(8)
    tissue.carve(-inside)
    row = tissue.mask(7 - inside) * tissue.mask(inside)
    tissue.epithelium = np.maximum(tissue.epithelium, 1.2 * row)
    tissue.add_nuclei(tissue.mask(inside - 2.5) * row, spacing=2.7)


def _lymphoid_aggregate(tissue: Tissue, depth: float) -> None:
    """Draw a dense, dark group of lymphocytes near the bottom of the mucosa."""
    radius = tissue.rng.uniform(20, 45)
    centre = (tissue.rng.uniform(-110, 110), min(depth, 120) - 0.3 * radius)
    inside = tissue.ellipse(centre, (1.3 * radius, radius), 0.15 * tissue.noise(20))
    here = tissue.carve(0.3 * inside)
    tissue.stroma += here
    tissue.add_nuclei(here, spacing=2.6, dark=1.05)


def _submucosa(tissue: Tissue, inside: Field, donor: Generator) -> None:
    """Draw the muscle of the mucosa, loose fibres, vessels and fat deeper down."""
    rng = tissue.rng
    band, open_ = donor.uniform(4, 11), donor.uniform(0.35, 1.15)
    below = tissue.carve(inside)
    if below.mean() < 0.02:
        return
    fibres = tissue.fibres(13, 2.4, v=tissue.v + 7 * tissue.noise(18)) + 0.32 * tissue.noise(2.4)
    muscle = below * tissue.mask(band - inside)
    loose = below - muscle
    wisps = np.clip(2.0 * fibres - 0.9 * open_ + 0.3 * tissue.noise(24), 0, 1)
    tissue.stroma += muscle * (0.85 + 0.3 * fibres) + 0.8 * loose * wisps
    tissue.add_nuclei(
        0.55 * muscle + 0.4 * loose * np.sqrt(wisps), spacing=3.6, dark=1.1, spindle=True
    )
    for _ in range(rng.poisson(4 * float(below.mean()))):
        _vessel(tissue, inside, band)
    if rng.random() < 0.15:
        draw_fat(tissue, inside - band - rng.uniform(4, 40) + 8 * tissue.noise(30), 14)


def _vessel(tissue: Tissue, inside: Field, band: float) -> None:
    """Draw a vessel that lies under the muscle of the mucosa."""
    radius = tissue.rng.uniform(4, 16)
    shape = blob(tissue, radius, stretch=1.8, wobble=0.12)
    shape = np.minimum(shape, inside - band - 3)
    coat = tissue.carve(shape + 2.5) - tissue.mask(shape)
    tissue.stroma += coat
    tissue.add_nuclei(0.5 * coat, spacing=3.4, dark=0.85)
    if tissue.rng.random() < 0.55:
        tissue.content += 0.6 * tissue.mask(shape - 0.8)


def _villi(tissue: Tissue, above: Field, width: float, gap: float, *, across: bool) -> Field:
    """Return the signed distance to villi cut across, wall to wall, or lengthwise."""
    ragged = 0.7 * tissue.noise(8)
    if across:
        long = tissue.rng.uniform(1.0, 2.4)
        spacing, axes = (2.1 * width * long, 2.1 * width), (tissue.v, tissue.u)
        islands = voronoi(
            tissue, spacing=spacing, jitter=0.45, length=0.6 * width * long, tilt=1.2, axes=axes
        )
        lost = np.where(islands.uniform(0, 1) < tissue.rng.choice([0.0, 0.25]), 40, 0)
        return islands.edge - gap * islands.uniform(0.5, 1.4) + ragged - lost
    # One row of cells: each villus is what lies nearest to its axis, up to a height of its own.
    height = tissue.rng.uniform(90, 220)
    along = tissue.u + 5 * tissue.noise(28)
    row: tuple[Field, Field] = (np.zeros_like(along), along)
    fingers = voronoi(tissue, spacing=(1, 1.9 * width), jitter=0.35, axes=row)
    beyond = above - height * fingers.uniform(0.5, 1.0)
    half = fingers.edge - gap * fingers.uniform(0.4, 1.6) + ragged
    return np.minimum(half, width - np.hypot(fingers.distance, np.maximum(beyond, 0)))


def _line_villi(
    tissue: Tissue, inside: Field, above: Field, *, thick: float, goblets: float
) -> None:
    """Leave only villi `above` the crypts, and line them: nuclei inside, a brush border outside."""
    where, villus = tissue.mask(above), tissue.mask(inside)
    lining = where * villus * tissue.mask(thick - inside)
    tissue.clear(where * (1 - villus) + lining)
    drops = voronoi(tissue, spacing=(5.2, 5.2), jitter=0.4)
    mucus = tissue.mask(drops.uniform(-2, 3) - drops.distance) * goblets
    tissue.epithelium += 1.4 * lining * (1 - 0.9 * mucus)
    tissue.border += 0.5 * where * villus * tissue.mask(0.9 - np.abs(inside - 0.6))
    tissue.add_nuclei(lining * tissue.mask(inside - 0.4 * thick), spacing=2.6, dark=1.05)
