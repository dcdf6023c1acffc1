"""Batches of views and the numbers to learn from them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pretrain.formulas import formula
from pretrain.views import view

# First words of the seeds, so that no two uses share random numbers.
TRAINING, SCALING, CALIBRATION, HELD_OUT = 3, 4, 5, 6


# Sides, in px, of the cells of the two coarser maps whose stains are asked for.
CELLS = {"stains_8": 8, "stains_16": 16}


class Drawn(NamedTuple):
    """Views of B drawings; see `View`."""

    pictures: NDArray[np.uint8]
    classes: NDArray[np.int64]
    facts: NDArray[np.float32]
    stains: NDArray[np.float32]


def views_of(
    pool: NDArray[np.uint8], rng: np.random.Generator, *, count: int, settings: dict
) -> Drawn:
    """Return `count` views of random drawings.

    The pool is uint8 (instances, classes, size, size, 3); `settings` are those of `view`.
    """
    instances = rng.integers(pool.shape[0], size=count)
    classes = rng.integers(pool.shape[1], size=count)
    views = [view(pool[i, c], rng, **settings) for i, c in zip(instances, classes, strict=True)]
    pictures, facts, stains = (np.stack(part) for part in zip(*views, strict=True))
    return Drawn(pictures, classes, facts, stains)


def stain_map(stains: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """Return stains (B, S, S, 3) as means and deviations in cells, (B, S/cell, S/cell, 6)."""
    # Two sums along one axis each are faster than one along both.
    both = np.concatenate([stains, stains**2], axis=-1)
    count, side = len(both), both.shape[1] // cell
    rows = both.reshape(count, side, cell, -1).mean(2)
    mean, square = np.split(rows.reshape(count, side, side, cell, 6).mean(3), 2, axis=-1)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.float32(2.0) * np.concatenate([mean, deviation], axis=-1)


class Targets:
    """The numbers to regress, at mean 0 and deviation 1: those of the formula and of the view."""

    def __init__(self, pool: NDArray[np.uint8], *, seed: int, settings: dict) -> None:
        """Measure mean and deviation on views of the pool."""
        self.formulas = np.stack([formula(i, seed=seed).values() for i in range(pool.shape[1])])
        rng = np.random.default_rng([seed, SCALING])
        drawn = views_of(pool, rng, count=512, settings=settings)
        both = np.concatenate([self.formulas[drawn.classes], drawn.facts], axis=1)
        # The floor keeps colours that hardly ever occur from outweighing the others.
        self.mean, self.scale = both.mean(0), both.std(0) + 0.02

    def __call__(
        self, classes: NDArray[np.int64], facts: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the targets, float32 (B, P + T)."""
        both = np.concatenate([self.formulas[classes], facts], axis=1)
        return np.clip((both - self.mean) / self.scale, -4, 4).astype(np.float32)


def batches(
    pool: NDArray[np.uint8],
    targets: Targets,
    *,
    batch_size: int,
    seed: int,
    settings: dict,
    purpose: int = TRAINING,
) -> Iterator[tuple[NDArray[np.uint8], dict]]:
    """Yield batches for ever, the k-th a function of the seed and k alone."""
    number = 0
    while True:
        rng = np.random.default_rng([seed, purpose, number])
        drawn = views_of(pool, rng, count=batch_size, settings=settings)
        maps = {name: stain_map(drawn.stains, cell) for name, cell in CELLS.items()}
        facts = targets(drawn.classes, drawn.facts)
        yield drawn.pictures, {"formula": drawn.classes, "facts": facts, **maps}
        number += 1
