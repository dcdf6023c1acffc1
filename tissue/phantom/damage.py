"""How a core breaks: its ragged outline, what is missing, clefts, cracks and folds."""

import math

import numpy as np

from tissue.phantom.layers import Field, Tissue, rotate, smooth_noise

MISSING = 0.16  # share of the cores of which a part was lost


def outline(tissue: Tissue) -> Field:
    """Return the mask of the core: a punched disc, a little squashed, ragged, sometimes broken."""
    rng = tissue.rng
    radius = tissue.side / 2 / tissue.unit - 3
    along, across = rotate(tissue.x, tissue.y, rng.uniform(0, np.pi))
    inside = radius - np.hypot(along, across / rng.uniform(0.93, 1.0))
    chewed = np.clip(0.1 + 0.9 * tissue.noise(80), 0.05, 2)  # smooth here, frayed there
    frayed = 1.5 * tissue.noise(2.6) + 3.5 * np.maximum(tissue.noise(8), 0) ** 2
    inside = inside - rng.uniform(0.2, 1.5) * chewed * frayed - 5 * np.maximum(tissue.noise(80), 0)
    if rng.random() < MISSING:
        rest = _break_off(tissue, radius) if rng.random() < 0.5 else _bite(tissue, radius)
        inside = np.minimum(inside, rest)
    return tissue.mask(inside)


def _break_off(tissue: Tissue, radius: float) -> Field:
    """Return the signed distance to what is left on one side of a nearly straight break."""
    along, _ = rotate(tissue.x, tissue.y, tissue.rng.uniform(0, 2 * np.pi))
    cut = tissue.rng.uniform(-0.2, 0.75) * radius
    return cut - along + 12 * tissue.noise(90) + 2.5 * tissue.noise(9) + 0.8 * tissue.noise(3)


def _bite(tissue: Tissue, radius: float) -> Field:
    """Return the signed distance to what a round bite from the edge has left."""
    rng = tissue.rng
    along, across = rotate(tissue.x, tissue.y, rng.uniform(0, 2 * np.pi))
    size = rng.uniform(0.2, 0.7) * radius
    reach = np.hypot(along - radius * rng.uniform(0.75, 1.1), across * rng.uniform(0.7, 1.5))
    return reach - size + 9 * tissue.noise(50) + 2 * tissue.noise(8) + 0.8 * tissue.noise(3)


def tears(tissue: Tissue) -> Field:
    """Return the mask of clefts: mostly thin and tapering, sometimes right across the core."""
    rng = tissue.rng
    torn = np.zeros_like(tissue.x)
    for _ in range(rng.choice(4, p=[0.72, 0.19, 0.06, 0.03])):
        along, across = rotate(tissue.x, tissue.y, rng.uniform(0, 2 * np.pi))
        across = across - rng.uniform(-130, 130) + 6 * tissue.noise(90)
        if rng.random() < 0.15:
            opening = rng.uniform(4, 17) + 2.5 * tissue.noise(40)
        else:
            opening = rng.gamma(1.4, 1.8) * np.clip((along - rng.uniform(-40, 170)) / 80, -1, 1.5)
        torn = np.maximum(torn, tissue.mask(opening + 0.7 * tissue.noise(5) - np.abs(across)))
    return torn


def folds(tissue: Tissue) -> Field:
    """Return the relative thickness added by folds, dark cracks and uneven cutting."""
    rng = tissue.rng
    thick = 0.05 * tissue.noise(140)
    if rng.random() < 0.07:  # a fold: two layers on top of each other
        thick = thick + _line(tissue, rng.uniform(3, 9), rng.uniform(0.6, 1.0))
    if rng.random() < 0.14:  # where the section swelled: thin, dark lines
        for _ in range(rng.integers(1, 5)):
            thick = thick + _line(tissue, rng.uniform(0.6, 1.3), rng.uniform(0.6, 1.3))
    if rng.random() < 0.16:  # an edge that is turned over
        rim = tissue.side / 2 / tissue.unit - np.hypot(tissue.x, tissue.y)
        here = tissue.mask(5 * (tissue.noise(60) - 1.2))
        thick = thick + rng.uniform(0.5, 1.2) * here * tissue.mask(9 - rim + 2 * tissue.noise(9))
    return thick


def _line(tissue: Tissue, width: float, dark: float) -> Field:
    """Return a winding line of a given half-width that begins and ends inside the core."""
    rng = tissue.rng
    along, across = rotate(tissue.x, tissue.y, rng.uniform(0, 2 * np.pi))
    across = across - rng.uniform(-130, 130) + 13 * tissue.noise(80) + 3 * tissue.noise(22)
    length, middle = rng.uniform(40, 150), rng.uniform(-90, 90)
    half = width * np.clip((length - np.abs(along - middle)) / 30, -1, 1)
    return dark * tissue.mask(half - np.abs(across))


def add_fragments(stains: Field, tissue: Tissue, centre: tuple[float, float]) -> None:
    """Add crumbs of tissue round the core, whose centre is given as column and row."""
    rng, unit, size = tissue.rng, tissue.unit, stains.shape[0]
    for _ in range(rng.poisson(rng.choice([1.0, 7.0], p=[0.7, 0.3]))):
        angle = rng.uniform(0, 2 * np.pi)
        reach = tissue.side / 2 * rng.uniform(0.97, 1.12)
        span = int(unit * rng.gamma(2.0, 3.5)) + 4
        left = int(centre[0] + reach * math.cos(angle) - span / 2)
        top = int(centre[1] + reach * math.sin(angle) - span / 2)
        if left < 0 or top < 0 or left + span > size or top + span > size:
            continue
        line = np.linspace(-1, 1, span, dtype=np.float32)
        shape = 0.5 - np.hypot(line[None] * rng.uniform(1, 3), line[:, None])
        shape = np.clip(2 * (shape + 0.45 * smooth_noise(rng, (span, span), 3 * unit)), 0, 1)
        grain = np.maximum(0.5 + 0.25 * smooth_noise(rng, (span, span), 1.5 * unit), 0)
        patch = stains[top : top + span, left : left + span]
        patch[..., 0] = np.maximum(patch[..., 0], shape * grain)
