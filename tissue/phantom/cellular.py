"""Voronoi cells, from which crypts, tubules, acini, alveoli and plates of cells grow."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tissue.phantom.layers import Field, Tissue


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
