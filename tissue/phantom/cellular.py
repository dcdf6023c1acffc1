"""The plane cut into cells: crypts, tubules, acini, alveoli and plates all grow from it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tissue.phantom.tissue import Field


@dataclass(frozen=True)
class Cells:
    """A plane cut into cells: for each pixel, its cell and where in that cell it lies."""

    index: NDArray[np.intp]  # which cell
    distance: Field  # to the nearest cell's axis, reference pixels
    edge: Field  # to the border with the next cell, reference pixels
    du: Field  # from the cell's centre
    dv: Field
    count: int

    def each(self, rng: Generator, low: float, high: float) -> Field:
        """Return one uniform number a cell, spread over the pixels of that cell."""
        return rng.uniform(low, high, self.count).astype(np.float32)[self.index]


def cells(
    rng: Generator,
    u: Field,
    v: Field,
    *,
    spacing: tuple[float, float],
    jitter: float = 0.35,
    length: float = 0.0,
    turn: float = 0.0,
    weight: float = 0.0,
) -> Cells:
    """Cut the plane into cells round jittered grid points (cellular noise after Worley, 1996).

    `spacing` is the grid along u and v; `length` is the half-length of each cell's axis, which
    makes capsules of circles, `turn` how far axes turn at random (radians); `weight` spreads the
    cell sizes (power diagram).
    """
    su, sv = spacing
    gu, gv = u * np.float32(1 / su), v * np.float32(1 / sv)
    i, j = np.floor(gu).astype(np.intp), np.floor(gv).astype(np.intp)
    i -= i.min() - 1
    j -= j.min() - 1
    width, height = int(i.max()) + 2, int(j.max()) + 2
    low_u, low_v = float(np.floor(gu.min())) - 1, float(np.floor(gv.min())) - 1
    columns = low_u + np.arange(width)[None] + 0.5 + 0.25 * (-1.0) ** np.arange(height)[:, None]
    rows = low_v + np.arange(height)[:, None] + 0.5 + np.zeros((1, width))
    seeds = _seeds(
        rng,
        su * columns.ravel(),
        sv * rows.ravel(),
        spacing=spacing,
        jitter=jitter,
        length=length,
        turn=turn,
        weight=weight,
    )
    home = j * width + i
    index, distance, edge = np.empty_like(home), np.empty_like(u), np.empty_like(u)
    # Strips of a few rows stay in the processor's cache, which is three times faster.
    rows_at_once = max(1, 12_000 // u.shape[1])
    for top in range(0, u.shape[0], rows_at_once):
        strip = slice(top, top + rows_at_once)
        index[strip], distance[strip], edge[strip] = _nearest(
            seeds, u[strip], v[strip], home[strip], width
        )
    return Cells(index, distance, edge, u - seeds.u[index], v - seeds.v[index], rows.size)


class Seeds(NamedTuple):
    """What the plane's cells grow from: one number a cell each."""

    u: Field
    v: Field
    half_length: Field
    cosine: Field
    sine: Field
    bonus: Field


def _seeds(
    rng: Generator,
    u: Field,
    v: Field,
    *,
    spacing: tuple[float, float],
    jitter: float,
    length: float,
    turn: float,
    weight: float,
) -> Seeds:
    """Jitter grid points (u, v), and draw an axis and a weight for each."""
    (su, sv), count = spacing, u.size
    angle = rng.uniform(-turn, turn, count)
    drawn = (
        u + su * rng.uniform(-jitter, jitter, count),
        v + sv * rng.uniform(-jitter, jitter, count),
        length * rng.uniform(0.3, 1.0, count),
        np.cos(angle),
        np.sin(angle),
        weight * su * sv * rng.uniform(0, 1, count),
    )
    return Seeds(*(values.astype(np.float32) for values in drawn))


def _nearest(
    seeds: Seeds, u: Field, v: Field, home: NDArray[np.intp], width: int
) -> tuple[NDArray[np.intp], Field, Field]:
    """Return each pixel's nearest seed of nine, its distance, and the distance to the border."""
    straight, turned = not seeds.half_length.any(), seeds.sine.any()
    best = np.full(u.shape, np.inf, np.float32)
    second, index = best.copy(), home.copy()
    aside = (-1, 0, 1) if width > 3 else (0,)  # three columns: one, and its margins
    for step in (s + t * width for t in (-1, 0, 1) for s in aside):
        near = home + step
        du, dv = u - seeds.u[near], v - seeds.v[near]
        if turned and not straight:
            c, s = seeds.cosine[near], seeds.sine[near]
            du, dv = du * c + dv * s, dv * c - du * s
        if not straight:
            reach = seeds.half_length[near]
            du -= np.minimum(np.maximum(du, -reach), reach)
        far = du * du + dv * dv
        far -= seeds.bonus[near]
        closer = far < best
        np.minimum(second, np.maximum(best, far), out=second)
        np.minimum(best, far, out=best)
        np.copyto(index, near, where=closer)
    bonus = seeds.bonus[index]
    distance = np.sqrt(np.maximum(best + bonus, 0))
    edge = (np.sqrt(np.maximum(second + bonus, 0)) - distance) * np.float32(0.5)
    return index, distance, edge
