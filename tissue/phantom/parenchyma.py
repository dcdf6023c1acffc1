"""Liver and pancreas: speckle of cells, in plates or in acini."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import (
    blob,
    draw_duct,
    draw_fat,
    draw_fat_cells,
    draw_vessel,
    fill_fibrous,
    voronoi,
)


def liver(tissue: Tissue, donor: Generator) -> None:
    """Draw plates of hepatocytes with sinusoids between, veins, portal tracts, sometimes fat."""
    rng = tissue.rng
    spacing = donor.uniform(7.4, 10.7)
    # Sinusoids are open and pale in one donor, and closed in the next.
    closed = donor.uniform(0.5, 1.7) + rng.normal(0, 0.15)
    fat = donor.uniform(0.02, 0.25) if donor.random() < 0.25 else 0.0
    tissue.turn_axes(bend=22, grain=75)
    plates = tissue.labyrinth(spacing, stretch=donor.uniform(1.0, 1.35))
    zones = tissue.noise(70)
    # A section follows a sinusoid only for a few cells.
    sinus = np.clip(2.2 * (plates - closed - 0.2 * zones - 0.35 * tissue.noise(14)), 0, 1)
    body = 1 - 0.85 * sinus
    tissue.epithelium += 0.85 * body * (1 + 0.06 * zones) * (1 + 0.05 * plates)
    dark = donor.uniform(1.1, 1.7)
    tissue.add_nuclei(donor.uniform(0.6, 0.95) * (body > 0.6), spacing=6.4, dark=dark)
    tissue.add_nuclei(0.5 * np.clip(plates - 0.6, 0, 1), spacing=3.8, dark=0.9)
    if fat:
        _droplets(tissue, fat * np.clip(0.7 + zones, 0, 2))
    for _ in range(rng.poisson(0.8)):
        _portal_tract(tissue, donor.uniform(9, 20))
    for _ in range(rng.poisson(0.9)):
        draw_vessel(tissue, rng.uniform(3, 9), rng.uniform(0.4, 1.0), filled=0.15)
    if rng.random() < 0.12:  # a large vein or the capsule
        draw_vessel(tissue, rng.uniform(16, 34), rng.uniform(2, 6), filled=0.3)


def _droplets(tissue: Tissue, share: Field) -> None:
    """Empty a share of the cells: droplets of fat."""
    drops = voronoi(tissue, spacing=(9, 9), jitter=0.5)
    lots = drops.uniform(0, 1)
    tissue.carve(np.where(lots < share, drops.uniform(1.5, 4.2), 0) - drops.distance)


def _portal_tract(tissue: Tissue, radius: float) -> None:
    """Draw fibrous tissue full of lymphocytes, with a vein and a duct in it."""
    rng = tissue.rng
    inside = blob(tissue, radius, stretch=2.2, wobble=0.4)
    tract = tissue.carve(inside)
    fill_fibrous(tissue, tract, dense=0.6, cells=0.4)
    infiltrate = np.clip(0.2 + 0.5 * tissue.noise(7), 0, 1) * tissue.mask(inside + 3)
    tissue.add_nuclei(rng.uniform(0.3, 1) * infiltrate, spacing=2.9)
    centre = np.unravel_index(int(inside.argmax()), inside.shape)
    u, v = float(tissue.u[centre]), float(tissue.v[centre])
    vein = tissue.ellipse((u, v), (0.5 * radius, 0.3 * radius), 0.2 * tissue.noise(6))
    tissue.carve(vein)
    duct = tissue.ellipse((u + 0.6 * radius, v), (3, 3), 0.1 * tissue.noise(4))
    tissue.epithelium += tissue.carve(duct) * tissue.mask(2 - duct)


def pancreas(tissue: Tissue, donor: Generator) -> None:
    """Draw dense acini in lobules, septa between these, ducts, islets and fat cells."""
    rng = tissue.rng
    width, islets = donor.uniform(9, 13), donor.uniform(0.3, 2.5)
    septa, wasted = donor.uniform(-1.0, 1.3), donor.random() < 0.14
    loose = donor.uniform(0, 0.9)
    tissue.turn_axes(bend=9, grain=45)
    _acini(tissue, width, pale=donor.uniform(0.7, 1.5))
    for _ in range(rng.poisson(islets)):
        _islet(tissue, donor.uniform(11, 22) * rng.uniform(0.6, 1.2))
    _septa(tissue, septa + rng.normal(0, 0.2), loose)
    if rng.random() < 0.5:
        draw_duct(tissue, rng.uniform(3, 11), collar=rng.uniform(2, 14))
    if rng.random() < 0.3:
        draw_vessel(tissue, rng.uniform(4, 12), rng.uniform(3, 9), filled=0.4)
    draw_fat_cells(tissue, rng.poisson(donor.choice([2.0, 6.0, 14.0])), rng.uniform(5, 7.5))
    if wasted or rng.random() < 0.08:
        _waste(tissue, rng.uniform(-1.2, 0.6))
    if rng.random() < 0.12:
        edge = tissue.u - rng.uniform(90, 160) + 14 * tissue.noise(50)
        draw_fat(tissue, edge, rng.uniform(13, 19))


def _acini(tissue: Tissue, width: float, *, pale: float) -> None:
    """Draw acini: dark cells with nuclei outside, granules inside, and pale specks between."""
    acini = voronoi(tissue, spacing=(1.2 * width, width), jitter=0.48, length=3, tilt=1.6)
    apex = np.clip(0.35 * (acini.edge - 0.2 * width), 0, 1)
    specks = np.clip(
        0.7 * tissue.labyrinth(1.4 * width) - pale + 0.6 * tissue.noise(0.5 * width), 0, 0.65
    )
    body = 1 - specks - 0.25 * tissue.mask(0.5 - acini.edge)
    tissue.epithelium += 2.4 * np.maximum(body, 0.1) * acini.uniform(0.85, 1.15) * (1 - 0.2 * apex)
    tissue.border += 0.3 * apex
    tissue.add_nuclei(0.8 * (1 - apex) * body, spacing=3.9, dark=0.75)


def _septa(tissue: Tissue, opening: float, loose: float) -> None:
    """Cut the tissue into lobules, by clefts that hold fibres or nothing."""
    lobules = voronoi(tissue, spacing=(150, 110), jitter=0.48)
    wide = 1.2 + 2.4 * np.clip(opening + tissue.noise(50), -1, 2.6)
    wide += 7 * np.maximum(opening + tissue.noise(80) - 0.9, 0)
    inside = wide + 0.9 * tissue.noise(7) - lobules.edge
    septum = tissue.carve(inside)
    fill_fibrous(tissue, septum * np.clip(loose + 0.5 * tissue.noise(40), 0, 1), dense=0.35)


def _islet(tissue: Tissue, radius: float) -> None:
    """Draw a pale, round group of small cells."""
    islet = tissue.carve(blob(tissue, radius, stretch=1.4, wobble=0.12))
    cords = np.clip(0.75 + 0.2 * tissue.labyrinth(7.4), 0, 1)
    tissue.epithelium += 1.0 * islet * cords
    tissue.add_nuclei(0.8 * islet * cords, spacing=3.8, dark=0.85)


def _waste(tissue: Tissue, share: float) -> None:
    """Replace part of the tissue by scar, with wide ducts and fat."""
    rng = tissue.rng
    scar = tissue.carve(12 * (tissue.noise(110) + share + 0.15 * tissue.noise(12)))
    fill_fibrous(tissue, 0.8 * scar, dense=0.5, cells=0.35)
    for _ in range(rng.poisson(1.3)):
        draw_duct(tissue, rng.uniform(8, 24), collar=rng.uniform(3, 8))
    draw_fat_cells(tissue, rng.poisson(9), rng.uniform(5, 8))
