"""What several organs have: Voronoi cells, from which crypts, tubules, acini and alveoli grow;
vessels, ducts, fat and fibrous tissue.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tissue.phantom.layers import Field, Tissue

Point = tuple[float, float]


@dataclass(frozen=True)
class Cells:
    """For each pixel its Voronoi cell, and where in that cell it lies."""

    rng: Generator
    count: int
    index: NDArray[np.intp]  # of the cell
    distance: Field  # to the axis of the cell, a segment of the `length` given to `voronoi`
    edge: Field  # distance to the border with the next cell
    du: Field  # from the centre of the cell
    dv: Field

    def uniform(self, low: float, high: float) -> Field:
        """Return one random number per cell, spread over the pixels of that cell."""
        return self.rng.uniform(low, high, self.count).astype(np.float32)[self.index]


def voronoi(
    tissue: Tissue,
    *,
    spacing: tuple[float, float],
    jitter: float = 0.35,
    length: float = 0.0,
    tilt: float = 0.0,
    weight: float = 0.0,
    axes: tuple[Field, Field] | None = None,
) -> Cells:
    """Cut the plane into Voronoi cells of jittered grid points (after Worley, 1996).

    Args:
        tissue: the tissue whose pixels are divided.
        spacing: of the grid, along the two axes.
        jitter: largest displacement of a point, as a share of the spacing.
        length: largest half-length of the axis of a cell; longer axes turn circles into capsules.
        tilt: largest angle between the axis of a cell and the first coordinate, radians.
        weight: spread of the cell sizes (power diagram).
        axes: the two coordinates; u and v by default.
    """
    rng, (su, sv), (u, v) = tissue.rng, spacing, axes or (tissue.u, tissue.v)
    grid_u, grid_v, home, width = _grid(u, v, spacing)
    count = grid_u.size
    angle = rng.uniform(-tilt, tilt, count)
    drawn = [
        grid_u + su * rng.uniform(-jitter, jitter, count),
        grid_v + sv * rng.uniform(-jitter, jitter, count),
        length * rng.uniform(0.3, 1.0, count),
        np.cos(angle),
        np.sin(angle),
        weight * su * sv * rng.uniform(0, 1, count),
    ]
    seeds = np.array(drawn).astype(np.float32)
    # Strips of a few rows stay in the processor's cache, which is three times faster.
    rows = max(1, 12_000 // u.shape[1])
    strips = [slice(top, top + rows) for top in range(0, u.shape[0], rows)]
    nearest = [_nearest(seeds, u[strip], v[strip], home[strip], width) for strip in strips]
    index, distance, edge = (np.concatenate(part) for part in zip(*nearest, strict=True))
    return Cells(rng, count, index, distance, edge, u - seeds[0][index], v - seeds[1][index])


def _grid(
    u: Field, v: Field, spacing: tuple[float, float]
) -> tuple[Field, Field, NDArray[np.intp], int]:
    """Return u and v of the grid points, each pixel's grid point, and the number of columns."""
    su, sv = spacing
    i = np.floor(u * np.float32(1 / su)).astype(np.intp)
    j = np.floor(v * np.float32(1 / sv)).astype(np.intp)
    left, top = i.min() - 1, j.min() - 1
    width, height = int(i.max() - left) + 2, int(j.max() - top) + 2
    column, row = np.arange(width)[None], np.arange(height)[:, None]
    # Every second row is shifted by half a column.
    grid_u = su * (left + column + 0.5 + 0.25 * (-1.0) ** row)
    grid_v = sv * (top + row + 0.5 + np.zeros((1, width)))
    return grid_u.ravel(), grid_v.ravel(), (j - top) * width + (i - left), width


def _nearest(
    seeds: Field, u: Field, v: Field, home: NDArray[np.intp], width: int
) -> tuple[NDArray[np.intp], Field, Field]:
    """Return each pixel's nearest seed of nine, its distance, and the distance to the border.

    The bonus of a seed is subtracted from the squared distance.
    """
    seed_u, seed_v, half_length, cosine, sine, bonus = seeds
    round_cells = not half_length.any()
    best = np.full(u.shape, np.inf, np.float32)
    second, index = best.copy(), home.copy()
    aside = (-1, 0, 1) if width > 3 else (0,)  # of three columns, two are margins
    for step in (s + t * width for t in (-1, 0, 1) for s in aside):
        near = home + step
        du, dv = u - seed_u[near], v - seed_v[near]
        if not round_cells:
            c, s = cosine[near], sine[near]
            du, dv = du * c + dv * s, dv * c - du * s
            reach = half_length[near]
            du -= np.minimum(np.maximum(du, -reach), reach)
        squared = du * du + dv * dv
        squared -= bonus[near]
        closer = squared < best
        np.minimum(second, np.maximum(best, squared), out=second)
        np.minimum(best, squared, out=best)
        np.copyto(index, near, where=closer)
    distance = np.sqrt(np.maximum(best + bonus[index], 0))
    edge = (np.sqrt(np.maximum(second + bonus[index], 0)) - distance) * np.float32(0.5)
    return index, distance, edge


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
