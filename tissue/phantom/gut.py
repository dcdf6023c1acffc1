"""Colon and small intestine: crypts, villi, and the layers below them.

The mucosa lies at small v. At larger v follow its muscle (muscularis mucosae) and the submucosa.
"""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import Cells, voronoi
from tissue.phantom.layers import Field, Tissue


def colon(tissue: Tissue, donor: Generator) -> None:
    """Draw crypts with goblet cells, cut across or lengthwise, over submucosa."""
    rng = tissue.rng
    radius, gap = donor.uniform(10, 17), donor.uniform(1.1, 1.45)
    goblets, cellular = donor.uniform(0.5, 1.0), donor.uniform(0.35, 0.8)
    lengthwise = rng.random() < donor.uniform(0.1, 0.7)
    tissue.turn_axes(bend=6)
    length = radius * (rng.uniform(1.2, 3.2) if lengthwise else rng.uniform(0, 0.7))  # along v
    spacing, axes = (2 * radius * gap + 1.5 * length, 2 * radius * gap), (tissue.v, tissue.u)
    cells = voronoi(tissue, spacing=spacing, jitter=0.22, length=length, tilt=0.15, axes=axes)
    mucosa: Field = np.full_like(tissue.v, np.inf)
    if deep := rng.random() <= 0.6:  # the core reaches down to the submucosa
        mucosa = rng.uniform(20, 150) - tissue.v + 6 * tissue.noise(60)
    _lamina_propria(tissue, cellular)
    _crypts(tissue, cells, mucosa, radius=radius, goblets=goblets)
    if rng.random() < 0.35:
        _surface(tissue, tissue.v + rng.uniform(90, 160), radius)
    if rng.random() < 0.15:
        _lymphoid_aggregate(tissue)
    if deep:
        _submucosa(tissue, -mucosa, donor)


def small_intestine(tissue: Tissue, donor: Generator) -> None:
    """Draw villi over a layer of crypts."""
    rng = tissue.rng
    width, gap = donor.uniform(11, 18), donor.uniform(1.08, 1.4)
    height, goblets = donor.uniform(90, 200), donor.uniform(0.1, 0.5)
    cellular = donor.uniform(0.5, 0.9)
    tissue.turn_axes(bend=9, grain=60)
    base = rng.uniform(-20, 110)
    above = base - tissue.v  # where villi stand
    _lamina_propria(tissue, cellular)
    villi = _villi(tissue, above, width, gap, height, across=rng.random() < 0.3)
    _line_villi(tissue, villi, above, thick=donor.uniform(5, 7.5), goblets=goblets)
    radius = donor.uniform(6.5, 9.5)
    cells = voronoi(tissue, spacing=(2.3 * radius, 2.3 * radius), length=0.6 * radius, tilt=1.5)
    muscle = base + rng.uniform(35, 80)
    mucosa = np.minimum(tissue.v - base, muscle - tissue.v)
    _crypts(tissue, cells, mucosa, radius=radius, goblets=goblets)
    _submucosa(tissue, tissue.v - muscle, donor)


def _lamina_propria(tissue: Tissue, cellular: float) -> None:
    """Fill the tissue with loose, cellular stroma."""
    loose = np.clip(0.55 + 0.45 * tissue.noise(3.5), 0, 1)
    tissue.stroma += 0.75 * loose
    tissue.add_nuclei(cellular * (0.35 + 0.65 * loose), spacing=4.0, dark=0.9)


def _crypts(tissue: Tissue, cells: Cells, mucosa: Field, *, radius: float, goblets: float) -> None:
    """Draw crypts in the mucosa: nuclei outside, mucus in goblet cells, a lumen in the middle."""
    size = radius * cells.uniform(0.8, 1.12)
    wobbly = size * (1 + 0.07 * tissue.noise(9)) - cells.distance
    inside = np.minimum(np.where(cells.uniform(0, 1) < 0.04, -1, wobbly), mucosa)
    thick = 0.82 * radius
    crypt = tissue.carve(inside)
    spokes = np.sin(np.arctan2(cells.dv, cells.du) * tissue.rng.integers(7, 11).item())
    mucus = np.clip(0.65 + 0.5 * spokes + 0.55 * tissue.noise(3), 0, 1)
    mucus *= tissue.mask(inside - 0.33 * thick) * tissue.mask(0.95 * thick - inside)
    tissue.epithelium += crypt * tissue.mask(thick - inside) * (1 - 0.85 * goblets * mucus)
    tissue.border += 0.6 * crypt * tissue.mask(1.2 - np.abs(inside - thick))
    tissue.add_nuclei(0.95 * crypt * tissue.mask(0.42 * thick - inside), spacing=2.9)


def _surface(tissue: Tissue, inside: Field, radius: float) -> None:
    """End the mucosa where `inside` is negative, in a row of surface epithelium."""
    inside = inside + 0.8 * radius * tissue.noise(1.8 * radius) + 3 * tissue.noise(9)
    tissue.carve(-inside)
    row = tissue.mask(6 - inside)
    tissue.epithelium = np.maximum(tissue.epithelium, tissue.mask(inside) * row)
    tissue.add_nuclei(tissue.mask(inside - 2.5) * row, spacing=2.9)


def _lymphoid_aggregate(tissue: Tissue) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-120, 120), rng.uniform(0, 120))
    radii = (rng.uniform(25, 55), rng.uniform(20, 40))
    inside = tissue.ellipse(centre, radii, 0.2 * tissue.noise(20))
    tissue.add_nuclei(0.9 * tissue.mask(0.2 * inside), spacing=3.0)


def _submucosa(tissue: Tissue, inside: Field, donor: Generator) -> None:
    """Draw the muscle of the mucosa, and loose fibres deeper down."""
    band = donor.uniform(5, 12)
    below = tissue.carve(inside)
    fibres = tissue.fibres(15, 2.4, v=tissue.v + 4 * tissue.noise(16)) + 0.22 * tissue.noise(4)
    muscle = below * tissue.mask(band - inside)
    loose = below - muscle
    wisps = np.clip(2.4 * fibres - 0.85 + 0.4 * tissue.noise(24), 0, 1)
    tissue.stroma += muscle * (0.7 + 0.3 * fibres) + 0.75 * loose * wisps
    tissue.add_nuclei(0.5 * muscle + 0.22 * loose * wisps, spacing=4.2, dark=0.8, spindle=True)


def _villi(
    tissue: Tissue, above: Field, width: float, gap: float, height: float, *, across: bool
) -> Field:
    """Return the signed distance to villi cut across, like islands, or lengthwise."""
    ripple = 1 + 0.1 * tissue.noise(9)
    if across:
        spacing, axes = (3.6 * width * gap, 2.1 * width * gap), (tissue.v, tissue.u)
        islands = voronoi(tissue, spacing=spacing, length=width, tilt=0.5, axes=axes)
        return width * islands.uniform(0.7, 1.2) * ripple - islands.distance
    # One row of cells: each villus is what lies nearest to its axis, up to a height of its own.
    axes = (np.zeros_like(tissue.u), tissue.u)
    fingers = voronoi(tissue, spacing=(1, 2 * width * gap), jitter=0.3, axes=axes)
    half = width * fingers.uniform(0.75, 1.15) * ripple
    beyond = np.maximum(above - height * fingers.uniform(0.45, 1.0), 0)
    return half - np.hypot(fingers.distance, beyond)


def _line_villi(
    tissue: Tissue, inside: Field, above: Field, *, thick: float, goblets: float
) -> None:
    """Leave only villi `above` the crypts, and line them: nuclei inside, a brush border outside."""
    where, villus = tissue.mask(above), tissue.mask(inside)
    lining = where * villus * tissue.mask(thick - inside)
    tissue.clear(where * (1 - villus) + lining)
    mucus = np.clip(0.3 + 0.9 * tissue.noise(3), 0, 1)
    mucus *= tissue.mask(inside - 0.5) * tissue.mask(0.5 * thick - inside)
    tissue.epithelium += lining * (1 - 0.85 * goblets * mucus)
    tissue.border += 0.6 * where * villus * tissue.mask(0.9 - np.abs(inside - 0.6))
    tissue.add_nuclei(0.95 * lining * tissue.mask(inside - 0.42 * thick), spacing=2.9)
