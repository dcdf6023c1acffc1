"""Colon and small intestine: crypts, villi, and the layers below them."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import Cells, cells
from tissue.phantom.tissue import Field, Tissue, texture


def colon(tissue: Tissue, donor: Generator) -> None:
    """Draw crypts as rings with goblet cells, round or lengthwise, over submucosa."""
    radius, gap = donor.uniform(10, 17), donor.uniform(1.1, 1.45)
    goblets, cellular = donor.uniform(0.5, 1.0), donor.uniform(0.35, 0.8)
    lengthwise = tissue.rng.random() < donor.uniform(0.1, 0.7)
    tissue.turn(tissue.rng.uniform(0, 2 * np.pi), bend=6)
    length = radius * (tissue.rng.uniform(1.2, 3.2) if lengthwise else tissue.rng.uniform(0, 0.7))
    plan = cells(
        tissue.rng,
        tissue.v,
        tissue.u,
        spacing=(2 * radius * gap + 1.5 * length, 2 * radius * gap),
        jitter=0.22,
        length=length,
        turn=0.15,
    )
    depth = _depth(tissue, chance=0.6)
    lamina_propria(tissue, cellular)
    crypts(tissue, plan, radius=radius, goblets=goblets, inside=depth)
    if tissue.rng.random() < 0.35:
        surface(tissue, tissue.v + tissue.rng.uniform(90, 160), radius)
    if tissue.rng.random() < 0.15:
        aggregate(tissue)
    if depth is not None:
        submucosa(tissue, depth, donor)


def small_intestine(tissue: Tissue, donor: Generator) -> None:
    """Draw villi over a layer of crypts."""
    width, gap = donor.uniform(11, 18), donor.uniform(1.08, 1.4)
    height, goblets = donor.uniform(90, 200), donor.uniform(0.1, 0.5)
    cellular = donor.uniform(0.5, 0.9)
    rng = tissue.rng
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=9, grain=60)
    base = rng.uniform(-20, 110)
    lamina_propria(tissue, cellular)
    reach = _villi(tissue, base, width, gap, height, across=rng.random() < 0.3)
    villous = tissue.soft(base - tissue.v)
    _villus(tissue, reach, where=villous, thick=donor.uniform(5, 7.5), goblets=goblets)
    radius = donor.uniform(6.5, 9.5)
    plan = cells(
        rng, tissue.u, tissue.v, spacing=(2.3 * radius, 2.3 * radius), length=0.6 * radius, turn=1.5
    )
    below = base + rng.uniform(35, 80)
    zone = np.minimum(tissue.v - base, below - tissue.v)
    crypts(tissue, plan, radius=radius, goblets=goblets, inside=zone)
    submucosa(tissue, below - tissue.v, donor)


def _villi(
    tissue: Tissue, base: float, width: float, gap: float, height: float, *, across: bool
) -> Field:
    """Return the reference pixels inside of villi cut lengthwise, or across as islands."""
    rng = tissue.rng
    ripple = 1 + 0.1 * tissue.noise(9)
    if across:
        islands = cells(
            rng,
            tissue.v,
            tissue.u,
            spacing=(3.6 * width * gap, 2.1 * width * gap),
            jitter=0.35,
            length=width,
            turn=0.5,
        )
        return width * islands.each(rng, 0.7, 1.2) * ripple - islands.distance
    # One row of cells: a villus is all that is nearest to its axis, up to its own height.
    fingers = cells(
        rng, np.zeros_like(tissue.u), tissue.u, spacing=(1, 2 * width * gap), jitter=0.3
    )
    half = width * fingers.each(rng, 0.75, 1.15) * ripple
    beyond = np.maximum(base - tissue.v - height * fingers.each(rng, 0.45, 1.0), 0)
    return half - np.hypot(fingers.distance, beyond)


def surface(tissue: Tissue, above: Field, radius: float) -> None:
    """End the mucosa where `above` turns negative, in a row of surface epithelium."""
    above = above + 0.8 * radius * tissue.noise(1.8 * radius) + 3 * tissue.noise(9)
    gone = tissue.soft(-above)
    tissue.clear(gone)
    tissue.epithelium = np.maximum(tissue.epithelium, tissue.soft(above) * tissue.soft(6 - above))
    tissue.sow(tissue.soft(above - 2.5) * tissue.soft(6 - above), spacing=2.9)


def aggregate(tissue: Tissue) -> None:
    """Add a lymphoid aggregate."""
    rng = tissue.rng
    centre = (rng.uniform(-120, 120), rng.uniform(0, 120))
    inside = tissue.disc(centre, (rng.uniform(25, 55), rng.uniform(20, 40)), 0.2 * tissue.noise(20))
    tissue.sow(0.9 * tissue.soft(0.2 * inside), spacing=3.0)


def _depth(tissue: Tissue, chance: float) -> Field | None:
    """Return the distance above the muscularis mucosae, or nothing when it is out of the core."""
    if tissue.rng.random() > chance:
        return None
    return tissue.rng.uniform(20, 150) - tissue.v + 6 * tissue.noise(60)


def lamina_propria(tissue: Tissue, cellular: float) -> None:
    """Fill the tissue with loose, cellular stroma."""
    loose = np.clip(0.55 + 0.45 * tissue.noise(3.5), 0, 1)
    tissue.stroma += 0.75 * loose
    tissue.sow(cellular * (0.35 + 0.65 * loose), spacing=4.0, dark=0.9)


def crypts(
    tissue: Tissue, plan: Cells, *, radius: float, goblets: float, inside: Field | None
) -> None:
    """Put rings of epithelium with mucous cells over the stroma, where `inside` is positive."""
    rng = tissue.rng
    size = radius * plan.each(rng, 0.8, 1.12)
    wobbly = size * (1 + 0.07 * tissue.noise(9)) - plan.distance
    ring = np.where(plan.each(rng, 0, 1) < 0.04, -1, wobbly)
    if inside is not None:
        ring = np.minimum(ring, inside)
    _gland(tissue, ring, thick=0.82 * radius, goblets=goblets, plan=plan)


def _gland(tissue: Tissue, ring: Field, *, thick: float, goblets: float, plan: Cells) -> None:
    """Line glands, where `ring` is positive: nuclei at the outside, mucus, lumen in the middle."""
    body = tissue.soft(ring)
    tissue.clear(body)
    spokes = np.sin(np.arctan2(plan.dv, plan.du) * tissue.rng.integers(7, 11).item())
    mucous = np.clip(0.65 + 0.5 * spokes + 0.55 * tissue.noise(3), 0, 1)
    mucous *= tissue.soft(ring - 0.33 * thick) * tissue.soft(0.95 * thick - ring)
    tissue.epithelium += body * tissue.soft(thick - ring) * (1 - 0.85 * goblets * mucous)
    tissue.border += 0.6 * body * tissue.soft(1.2 - np.abs(ring - thick))
    tissue.sow(0.95 * body * tissue.soft(0.42 * thick - ring), spacing=2.9)


def _villus(tissue: Tissue, reach: Field, *, where: Field, thick: float, goblets: float) -> None:
    """Leave only villi `where` is 1, and line them: nuclei inward, a brush border outward."""
    body = tissue.soft(reach)
    skin = where * body * tissue.soft(thick - reach)
    tissue.clear(where * (1 - body) + skin)
    mucous = np.clip(0.3 + 0.9 * tissue.noise(3), 0, 1)
    mucous *= tissue.soft(reach - 0.5) * tissue.soft(0.5 * thick - reach)
    tissue.epithelium += skin * (1 - 0.85 * goblets * mucous)
    tissue.border += 0.6 * where * body * tissue.soft(0.9 - np.abs(reach - 0.6))
    tissue.sow(0.95 * skin * tissue.soft(reach - 0.42 * thick), spacing=2.9)


def submucosa(tissue: Tissue, depth: Field, donor: Generator) -> None:
    """Put muscularis mucosae and loose fibres below the mucosa, where `depth` is negative."""
    band = donor.uniform(5, 12)
    below = tissue.soft(-depth)
    tissue.clear(below)
    across = tissue.v + 4 * tissue.noise(16)
    fibres = texture(tissue.rng, tissue.u, across, (15, 2.4)) + 0.22 * tissue.noise(4)
    muscle = below * tissue.soft(depth + band)
    loose = below - muscle
    wisps = np.clip(2.4 * fibres - 0.85 + 0.4 * tissue.noise(24), 0, 1)
    tissue.stroma += muscle * (0.7 + 0.3 * fibres) + 0.75 * loose * wisps
    tissue.sow(0.5 * muscle + 0.22 * loose * wisps, spacing=4.2, dark=0.8, spindle=True)
