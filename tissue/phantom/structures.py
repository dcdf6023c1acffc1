"""What several organs have: vessels, ducts, fat and fibrous tissue."""

import numpy as np

from tissue.phantom.cellular import voronoi
from tissue.phantom.layers import Field, Tissue

Point = tuple[float, float]


def somewhere(tissue: Tissue, within: float = 150) -> Point:
    """Return a random place, up to `within` reference pixels from the centre along each axis."""
    return tuple(tissue.rng.uniform(-within, within, 2).tolist())


def blob(
    tissue: Tissue, radius: float, *, stretch: float, wobble: float, within: float = 150
) -> Field:
    """Return the signed distance to a wobbly ellipse somewhere, up to `stretch` times as long."""
    radii = (radius * tissue.rng.uniform(1, stretch), radius)
    return tissue.ellipse(somewhere(tissue, within), radii, wobble * tissue.noise(0.8 * radius + 3))


def fill_fibrous(tissue: Tissue, mask: Field, *, dense: float = 0.6, cells: float = 0.3) -> None:
    """Fill `mask` with wavy fibres, pale gaps between them, and spindle-shaped nuclei."""
    fibres = tissue.fibres(24, 3.2, v=tissue.v + 5 * tissue.noise(24))
    gaps = np.clip(0.35 + dense + 1.3 * (fibres - 0.5) + 0.2 * tissue.noise(5), 0, 1)
    tissue.stroma += 0.75 * mask * gaps
    tissue.add_nuclei(cells * mask * gaps, spacing=4.0, dark=0.85, spindle=True)


def draw_vessel(tissue: Tissue, radius: float, wall: float, *, filled: float = 0.4) -> None:
    """Draw a vessel: a wall of muscle in rings, and a lumen.

    `filled` is the probability that plasma or blood is left in the lumen.
    """
    rng = tissue.rng
    inside = blob(tissue, radius, stretch=1.8, wobble=0.12)
    collar = tissue.carve(inside + 2.2 * wall + 0.25 * radius) - tissue.mask(inside + wall)
    fill_fibrous(tissue, collar, dense=0.3)
    lumen = tissue.mask(inside)
    coat = tissue.mask(inside + wall) - lumen
    rings = np.clip(
        0.8 + 0.25 * np.sin(2.2 * inside + tissue.noise(9)) + 0.15 * tissue.noise(3), 0, 1
    )
    tissue.stroma += 1.1 * coat * rings
    tissue.add_nuclei(0.45 * coat, spacing=3.8, dark=0.85)
    tissue.add_nuclei(0.6 * coat * tissue.mask(1.5 - np.abs(inside + 0.7)), spacing=3.2, dark=0.9)
    if rng.random() < filled:
        blood = tissue.mask(inside - rng.uniform(0.5, 0.2 * radius + 0.6))
        tissue.content += blood * rng.uniform(0.35, 0.95) * (1 + 0.06 * tissue.noise(4))


def draw_duct(tissue: Tissue, radius: float, *, collar: float) -> None:
    """Draw a duct: a lumen, a row of epithelium, and a collar of fibrous tissue."""
    inside = blob(tissue, radius, stretch=1.7, wobble=0.16)
    around = tissue.carve(inside + collar) - tissue.mask(inside)
    fill_fibrous(tissue, around, dense=0.5)
    lining = tissue.mask(inside) * tissue.mask(4.0 - inside)
    tissue.epithelium += 0.9 * lining
    tissue.add_nuclei(0.9 * lining, spacing=2.9)


def draw_fat(tissue: Tissue, inside: Field, width: float) -> None:
    """Fill the region where `inside` is positive with fat: empty cells between thin walls."""
    region = tissue.carve(inside)
    cells = voronoi(tissue, spacing=(width, width), jitter=0.42, weight=0.25)
    wall = region * tissue.mask(0.55 + 0.3 * tissue.noise(9) - cells.edge)
    tissue.stroma += 0.7 * wall
    tissue.add_nuclei(0.22 * wall, spacing=3.6, dark=0.8)


def draw_fat_cells(tissue: Tissue, count: int, radius: float) -> None:
    """Draw single fat cells, empty and rounded, in loose groups."""
    rng = tissue.rng
    inside: Field = np.full_like(tissue.u, -np.inf)
    home = somewhere(tissue)
    for _ in range(count):
        if rng.random() < 0.45:
            home = somewhere(tissue, 165)
        size = radius * rng.uniform(0.7, 1.3)
        u, v = (c + rng.normal(0, 1.6 * radius) for c in home)
        squash = rng.uniform(0.75, 1.3)
        reach = np.hypot((tissue.u - u) * squash, (tissue.v - v) / squash)
        inside = np.maximum(inside, size - reach)
    tissue.carve(inside + 0.12 * radius * tissue.noise(0.8 * radius))
