"""Liver, pancreas, kidney and lung: organs without a surface in the picture."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import voronoi
from tissue.phantom.layers import Field, Tissue


def liver(tissue: Tissue, donor: Generator) -> None:
    """Draw plates of hepatocytes and sinusoids, with veins, portal tracts, and sometimes fat."""
    rng = tissue.rng
    size, slit = donor.uniform(7.5, 10), donor.uniform(0.1, 0.5)
    fat = donor.uniform(0.0, 0.25) if donor.random() < 0.3 else 0.0
    tissue.turn_axes(bend=10, grain=40)
    cells = voronoi(tissue, spacing=(1.7 * size, size), jitter=0.45, length=3, tilt=1.5)
    gap = slit + 0.3 * tissue.noise(9) + 0.35 * tissue.noise(2.5)
    sinus = tissue.mask(gap - cells.edge)
    tissue.epithelium += 1.15 - 0.75 * sinus
    tissue.border += 0.35 * tissue.mask(1.3 - cells.edge) * (1 - sinus)
    tissue.add_nuclei(0.8 * (1 - sinus) * tissue.mask(cells.edge - 1.2), spacing=0.72 * size)
    tissue.add_nuclei(0.35 * sinus, spacing=3.5, dark=0.75)
    if fat:
        drops = voronoi(tissue, spacing=(11, 11), jitter=0.5)
        radius = np.where(drops.uniform(0, 1) < fat, drops.uniform(1.5, 4.5), 0)
        tissue.carve(radius - drops.distance)
    for _ in range(rng.poisson(1.4)):
        _vein(tissue, rng.uniform(6, 17), rng.uniform(1.0, 3.0))
    for _ in range(rng.poisson(0.9)):
        _portal_tract(tissue, donor.uniform(14, 26))


def pancreas(tissue: Tissue, donor: Generator) -> None:
    """Draw acini in lobules, with clefts between, ducts and islets."""
    rng = tissue.rng
    width = donor.uniform(10, 15)
    cleft, islets = donor.uniform(0.5, 4), donor.uniform(0.6, 3.5)
    tissue.turn_axes(bend=8, grain=50)
    acini = voronoi(tissue, spacing=(1.25 * width, width), jitter=0.45, length=3, tilt=1.6)
    lobules = voronoi(tissue, spacing=(130, 95), jitter=0.45)
    gap = tissue.mask(cleft * (0.5 + 0.9 * tissue.noise(35)) - lobules.edge)
    body = tissue.mask(acini.edge - 0.35 - 0.4 * tissue.noise(9)) * (1 - gap)
    centre = tissue.mask(acini.edge - 0.36 * width)
    tissue.epithelium += body * acini.uniform(0.7, 1.3) * (1.2 - 0.6 * centre)
    tissue.border += 0.3 * body * centre
    tissue.stroma += 0.35 * (1 - body) * np.clip(0.4 + 0.7 * tissue.noise(5), 0, 1)
    tissue.add_nuclei(0.9 * body * tissue.mask(0.24 * width - acini.edge), spacing=3.7)
    for _ in range(rng.poisson(islets)):
        _islet(tissue, donor.uniform(13, 24) * rng.uniform(0.6, 1.2))
    if rng.random() < 0.4:
        _vein(tissue, rng.uniform(5, 12), rng.uniform(3, 6))


def kidney(tissue: Tissue, donor: Generator) -> None:
    """Draw tubules wall to wall, and glomeruli among them."""
    rng = tissue.rng
    width, lumen = donor.uniform(13, 19), donor.uniform(0.1, 0.5)
    between = donor.uniform(0.1, 0.9)
    lengthwise = rng.random() < 0.3
    tissue.turn_axes(bend=9, grain=38)
    stretch = rng.uniform(2.2, 3.5) if lengthwise else rng.uniform(1.3, 2.1)
    spacing, length = (width * stretch, width), 0.5 * width * (stretch - 0.6)
    tilt = 0.12 if lengthwise else 0.9
    tubules = voronoi(tissue, spacing=spacing, jitter=0.4, length=length, tilt=tilt, weight=0.2)
    inside = tubules.edge - between - 0.45 * tissue.noise(6)
    thick = width * 0.5 * tubules.uniform(0.75 - lumen, 1.15 - lumen) + 0.8 * tissue.noise(4)
    body = tissue.mask(inside)
    lining = body * tissue.mask(thick - inside)
    tissue.epithelium += 1.35 * lining * tubules.uniform(0.65, 1.25)
    tissue.border += 0.5 * tissue.mask(0.9 - np.abs(inside - thick)) * body
    tissue.border += 0.25 * tissue.mask(0.8 - np.abs(inside - 0.7))
    tissue.stroma += 0.7 * (1 - body) * np.clip(0.7 + 0.6 * tissue.noise(4), 0, 1)
    nuclei = 0.85 * lining * tissue.mask(inside - 1.5) * tissue.mask(5.5 - inside)
    tissue.add_nuclei(nuclei, spacing=4.6)
    tissue.add_nuclei(0.4 * (1 - body), spacing=3.6, dark=0.8)
    radius = donor.uniform(19, 27)
    for _ in range(rng.poisson(0.5 if lengthwise else 3.2)):
        _glomerulus(tissue, radius * rng.uniform(0.8, 1.15), donor.uniform(0.6, 0.9))


def lung(tissue: Tissue, donor: Generator) -> None:
    """Draw thin alveolar walls, sometimes collapsed, and large airways or vessels."""
    rng = tissue.rng
    size, wall = donor.uniform(20, 60), donor.uniform(0.5, 1.7)
    collapse = donor.uniform(-1.2, 0.6) + rng.normal(0, 0.3)
    tissue.turn_axes(bend=6, grain=16)
    spacing = (size * rng.uniform(1, 2.2), size)
    alveoli = voronoi(tissue, spacing=spacing, jitter=0.49, weight=0.4)
    thick = wall * (1 + 0.6 * tissue.noise(7)) + 2.5 * np.maximum(tissue.noise(45) + collapse, 0)
    broken = tissue.mask(2.2 * (tissue.noise(28) - 1.0))
    walls = tissue.mask(thick - alveoli.edge + 0.9 * tissue.noise(3)) * (1 - broken)
    tissue.stroma += 1.1 * walls
    tissue.epithelium += 0.3 * walls
    tissue.border += 0.3 * walls * tissue.mask(1.0 - np.abs(thick - alveoli.edge))
    tissue.add_nuclei(0.7 * walls, spacing=3.6)
    if rng.random() < 0.6:
        _tube(tissue, rng.uniform(12, 50), donor.uniform(5, 15), airway=rng.random() < 0.5)
    if rng.random() < 0.4:
        _tube(tissue, rng.uniform(6, 20), donor.uniform(2, 6), airway=False)


def _ellipse(
    tissue: Tissue, radius: float, *, within: float, stretch: float, wobble: tuple[float, float]
) -> Field:
    """Return the signed distance to an ellipse at a random place.

    It is up to `stretch` times as long along u. `wobble` is the deviation and grain of its outline.
    """
    rng = tissue.rng
    centre = (rng.uniform(-within, within), rng.uniform(-within, within))
    radii = (radius * rng.uniform(1, stretch), radius)
    return tissue.ellipse(centre, radii, wobble[0] * tissue.noise(wobble[1]))


def _vein(tissue: Tissue, radius: float, wall: float) -> None:
    inside = _ellipse(tissue, radius, within=150, stretch=2.2, wobble=(0.15, 14))
    ring = tissue.carve(inside + wall) * tissue.mask(-inside)
    tissue.stroma += 0.9 * ring
    tissue.add_nuclei(0.5 * ring, spacing=3.6, dark=0.8)


def _portal_tract(tissue: Tissue, radius: float) -> None:
    tract = tissue.carve(_ellipse(tissue, radius, within=160, stretch=2, wobble=(0.45, 16)))
    tissue.stroma += tract * np.clip(0.25 + tissue.fibres(12, 3), 0, 1)
    tissue.add_nuclei(0.6 * tract, spacing=3.8, dark=0.9)


def _islet(tissue: Tissue, radius: float) -> None:
    islet = tissue.carve(_ellipse(tissue, radius, within=150, stretch=1.4, wobble=(0.12, 15)))
    cords = np.clip(0.62 + 0.25 * tissue.noise(4), 0, 1)
    tissue.epithelium += 0.75 * islet * cords
    tissue.add_nuclei(0.85 * islet * cords, spacing=4.0, dark=0.85)


def _glomerulus(tissue: Tissue, radius: float, dense: float) -> None:
    """Draw a tuft of capillaries, a space round it, and a capsule."""
    rng = tissue.rng
    centre = (rng.uniform(-150, 150), rng.uniform(-150, 150))
    radii = (radius, radius * rng.uniform(0.8, 1.0))
    inside = tissue.ellipse(centre, radii, 0.05 * tissue.noise(12))
    tissue.carve(inside)
    space = rng.uniform(0.03, 0.14) * radius
    tuft = tissue.mask(inside - 1.5 - space + 0.13 * radius * tissue.noise(7))
    capsule = tissue.mask(0.8 - np.abs(inside - 0.8))
    loops = np.clip(0.7 + 0.5 * tissue.noise(3.5), 0, 1)
    tissue.stroma += 1.1 * tuft * loops + 0.8 * capsule
    tissue.add_nuclei(dense * tuft * loops, spacing=3.4, dark=0.95)
    tissue.add_nuclei(0.6 * capsule, spacing=3.4, dark=0.8)


def _tube(tissue: Tissue, radius: float, wall: float, *, airway: bool) -> None:
    """Draw a lined airway, or a vessel that may hold blood."""
    rng = tissue.rng
    centre = (rng.uniform(-120, 120), rng.uniform(-120, 120))
    wobble = 0.06 * tissue.noise(10 if airway else 30)
    inside = tissue.ellipse(centre, (radius * rng.uniform(1, 1.7), radius), wobble)
    lumen = tissue.mask(inside)
    coat = tissue.carve(inside + wall) - lumen
    tissue.stroma += 1.25 * coat * np.clip(0.8 + 0.2 * tissue.noise(3), 0, 1)
    tissue.add_nuclei(0.6 * coat, spacing=3.6, dark=0.85)
    if airway:
        lining = tissue.mask(inside + 4) - lumen
        tissue.epithelium += lining
        tissue.add_nuclei(0.9 * lining, spacing=3.0)
    elif rng.random() < 0.5:
        tissue.content += lumen * tissue.mask(inside - 1) * rng.uniform(0.5, 1.2)
