"""Liver and pancreas: packed glandular cells."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.cellular import cells
from tissue.phantom.tissue import Tissue, texture


def liver(tissue: Tissue, donor: Generator) -> None:
    """Draw plates of hepatocytes and sinusoids, radial to veins, with portal tracts."""
    rng = tissue.rng
    cell, slit = donor.uniform(7.5, 10), donor.uniform(0.1, 0.5)
    fat = donor.uniform(0.0, 0.25) if donor.random() < 0.3 else 0.0
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=10, grain=40)
    plan = cells(
        rng, tissue.u, tissue.v, spacing=(1.7 * cell, cell), jitter=0.45, length=3, turn=1.5
    )
    open_ = slit + 0.3 * tissue.noise(9) + 0.35 * tissue.noise(2.5)
    sinus = tissue.soft(open_ - plan.edge)
    tissue.epithelium += 1.15 - 0.75 * sinus
    tissue.border += 0.35 * tissue.soft(1.3 - plan.edge) * (1 - sinus)
    tissue.sow(0.8 * (1 - sinus) * tissue.soft(plan.edge - 1.2), spacing=0.72 * cell)
    tissue.sow(0.35 * sinus, spacing=3.5, dark=0.75)
    if fat:
        drops = cells(rng, tissue.u, tissue.v, spacing=(11, 11), jitter=0.5)
        size = np.where(drops.each(rng, 0, 1) < fat, drops.each(rng, 1.5, 4.5), 0)
        tissue.clear(tissue.soft(size - drops.distance))
    for _ in range(rng.poisson(1.4)):
        _vein(tissue, rng.uniform(6, 17), rng.uniform(1.0, 3.0))
    for _ in range(rng.poisson(0.9)):
        _portal_tract(tissue, donor.uniform(14, 26))


def _vein(tissue: Tissue, radius: float, wall: float) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-150, 150), rng.uniform(-150, 150))
    inside = tissue.disc(centre, (radius * rng.uniform(1, 2.2), radius), 0.15 * tissue.noise(14))
    whole = tissue.soft(inside + wall)
    tissue.clear(whole)
    ring = whole * tissue.soft(-inside)
    tissue.stroma += 0.9 * ring
    tissue.sow(0.5 * ring, spacing=3.6, dark=0.8)


def _portal_tract(tissue: Tissue, radius: float) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-160, 160), rng.uniform(-160, 160))
    inside = tissue.disc(centre, (radius * rng.uniform(1, 2), radius), 0.45 * tissue.noise(16))
    whole = tissue.soft(inside)
    tissue.clear(whole)
    fibres = texture(rng, tissue.u, tissue.v, (12, 3))
    tissue.stroma += whole * np.clip(0.25 + fibres, 0, 1)
    tissue.sow(0.6 * whole, spacing=3.8, dark=0.9)


def pancreas(tissue: Tissue, donor: Generator) -> None:
    """Draw acini in lobules, with clefts between, ducts and islets."""
    rng = tissue.rng
    width = donor.uniform(10, 15)
    cleft, islets = donor.uniform(0.5, 4), donor.uniform(0.6, 3.5)
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=8, grain=50)
    plan = cells(
        rng, tissue.u, tissue.v, spacing=(1.25 * width, width), jitter=0.45, length=3, turn=1.6
    )
    lobules = cells(rng, tissue.u, tissue.v, spacing=(130, 95), jitter=0.45)
    gap = tissue.soft(cleft * (0.5 + 0.9 * tissue.noise(35)) - lobules.edge)
    wall = plan.edge - 0.35 - 0.4 * tissue.noise(9)
    body = tissue.soft(wall) * (1 - gap)
    centre = tissue.soft(plan.edge - 0.36 * width)
    tissue.epithelium += body * plan.each(rng, 0.7, 1.3) * (1.2 - 0.6 * centre)
    tissue.border += 0.3 * body * centre
    tissue.stroma += 0.35 * (1 - body) * np.clip(0.4 + 0.7 * tissue.noise(5), 0, 1)
    tissue.sow(0.9 * body * tissue.soft(0.24 * width - plan.edge), spacing=3.7)
    for _ in range(rng.poisson(islets)):
        _islet(tissue, donor.uniform(13, 24) * rng.uniform(0.6, 1.2))
    if rng.random() < 0.4:
        _vein(tissue, rng.uniform(5, 12), rng.uniform(3, 6))


def _islet(tissue: Tissue, radius: float) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-150, 150), rng.uniform(-150, 150))
    inside = tissue.disc(centre, (radius * rng.uniform(1, 1.4), radius), 0.12 * tissue.noise(15))
    whole = tissue.soft(inside)
    tissue.clear(whole)
    cords = np.clip(0.62 + 0.25 * tissue.noise(4), 0, 1)
    tissue.epithelium += 0.75 * whole * cords
    tissue.sow(0.85 * whole * cords, spacing=4.0, dark=0.85)


def kidney(tissue: Tissue, donor: Generator) -> None:
    """Draw tubules wall to wall, and glomeruli among them."""
    rng = tissue.rng
    width = donor.uniform(13, 19)
    open_ = donor.uniform(0.1, 0.5)
    between = donor.uniform(0.1, 0.9)
    striped = rng.random() < 0.3
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=9, grain=38)
    stretch = rng.uniform(2.2, 3.5) if striped else rng.uniform(1.3, 2.1)
    plan = cells(
        rng,
        tissue.u,
        tissue.v,
        spacing=(width * stretch, width),
        jitter=0.4,
        length=0.5 * width * (stretch - 0.6),
        turn=0.12 if striped else 0.9,
        weight=0.2,
    )
    wall = plan.edge - between - 0.45 * tissue.noise(6)
    lumen = width * 0.5 * plan.each(rng, 0.75 - open_, 1.15 - open_) + 0.8 * tissue.noise(4)
    body = tissue.soft(wall)
    skin = body * tissue.soft(lumen - wall)
    tone = plan.each(rng, 0.65, 1.25)
    tissue.epithelium += 1.35 * skin * tone
    tissue.border += 0.5 * tissue.soft(0.9 - np.abs(wall - lumen)) * body
    tissue.border += 0.25 * tissue.soft(0.8 - np.abs(wall - 0.7))
    tissue.stroma += 0.7 * (1 - body) * np.clip(0.7 + 0.6 * tissue.noise(4), 0, 1)
    tissue.sow(0.85 * skin * tissue.soft(wall - 1.5) * tissue.soft(5.5 - wall), spacing=4.6)
    tissue.sow(0.4 * (1 - body), spacing=3.6, dark=0.8)
    size = donor.uniform(19, 27)
    for _ in range(rng.poisson(0.5 if striped else 3.2)):
        _glomerulus(tissue, size * rng.uniform(0.8, 1.15), donor.uniform(0.6, 0.9))


def _glomerulus(tissue: Tissue, radius: float, dense: float) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-150, 150), rng.uniform(-150, 150))
    squash = (radius, radius * rng.uniform(0.8, 1.0))
    inside = tissue.disc(centre, squash, 0.05 * tissue.noise(12))
    whole = tissue.soft(inside)
    tissue.clear(whole)
    space = rng.uniform(0.03, 0.14) * radius
    tuft = tissue.soft(inside - 1.5 - space + 0.13 * radius * tissue.noise(7))
    capsule = tissue.soft(0.8 - np.abs(inside - 0.8))
    loops = np.clip(0.7 + 0.5 * tissue.noise(3.5), 0, 1)
    tissue.stroma += 1.1 * tuft * loops + 0.8 * capsule
    tissue.sow(dense * tuft * loops, spacing=3.4, dark=0.95)
    tissue.sow(0.6 * capsule, spacing=3.4, dark=0.8)


def lung(tissue: Tissue, donor: Generator) -> None:
    """Draw thin alveolar walls, now and then collapsed, and large airways or vessels."""
    rng = tissue.rng
    size, wall = donor.uniform(20, 60), donor.uniform(0.5, 1.7)
    collapse = donor.uniform(-1.2, 0.6) + rng.normal(0, 0.3)
    tissue.turn(rng.uniform(0, 2 * np.pi), bend=6, grain=16)
    stretch = rng.uniform(1, 2.2)
    plan = cells(rng, tissue.u, tissue.v, spacing=(size * stretch, size), jitter=0.49, weight=0.4)
    thick = wall * (1 + 0.6 * tissue.noise(7)) + 2.5 * np.maximum(tissue.noise(45) + collapse, 0)
    broken = tissue.soft(2.2 * (tissue.noise(28) - 1.0))
    lace = tissue.soft(thick - plan.edge + 0.9 * tissue.noise(3)) * (1 - broken)
    tissue.stroma += 1.1 * lace
    tissue.epithelium += 0.3 * lace
    tissue.border += 0.3 * lace * tissue.soft(1.0 - np.abs(thick - plan.edge))
    tissue.sow(0.7 * lace, spacing=3.6)
    if rng.random() < 0.6:
        _tube(tissue, rng.uniform(12, 50), donor.uniform(5, 15), airway=rng.random() < 0.5)
    if rng.random() < 0.4:
        _tube(tissue, rng.uniform(6, 20), donor.uniform(2, 6), airway=False)


def _tube(tissue: Tissue, radius: float, wall: float, *, airway: bool) -> None:
    rng = tissue.rng
    centre = (rng.uniform(-120, 120), rng.uniform(-120, 120))
    ripple = 0.06 * tissue.noise(10 if airway else 30)
    inside = tissue.disc(centre, (radius * rng.uniform(1, 1.7), radius), ripple)
    whole = tissue.soft(inside + wall)
    tissue.clear(whole)
    lumen = tissue.soft(inside)
    coat = whole - lumen
    tissue.stroma += 1.25 * coat * np.clip(0.8 + 0.2 * tissue.noise(3), 0, 1)
    tissue.sow(0.6 * coat, spacing=3.6, dark=0.85)
    if airway:
        lining = tissue.soft(inside + 4) - lumen
        tissue.epithelium += lining
        tissue.sow(0.9 * lining, spacing=3.0)
    elif rng.random() < 0.5:
        tissue.content += lumen * tissue.soft(inside - 1) * rng.uniform(0.5, 1.2)
