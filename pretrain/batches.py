"""The pool of drawings, and batches of views of it with the targets to learn."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from tqdm import tqdm

from pretrain.formulas import Formula
from pretrain.textures import draw
from pretrain.views import View, view

# Second words of the seeds, so that no two uses share random numbers (formulas and drawings: 1, 2).
TRAINING, SCALING, CALIBRATION, HELD_OUT = 3, 4, 5, 6
CELLS = {"stains_8": 8, "stains_16": 16}  # sides of the cells of the two maps of stains, px


def draw_instance(instance: int, *, classes: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Return one drawing of every class, uint8 (classes, size, size, 3)."""
    return np.stack(
        [
            draw(Formula(index, seed=seed), size=size, seed=[seed, 2, index, instance])
            for index in range(classes)
        ]
    )


def draw_pool(path: Path, settings: dict, *, seed: int, processes: int) -> NDArray[np.uint8]:
    """Write and return the pool, uint8 (instances, classes, size, size, 3), memory-mapped.

    Every drawing has a seed of its own, so the number of processes changes nothing.
    """
    instances, classes, size = (settings[key] for key in ("instances", "classes", "size"))
    shape = (instances, classes, size, size, 3)
    pool = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    task = partial(draw_instance, classes=classes, size=size, seed=seed)
    with ProcessPoolExecutor(processes) as workers:
        drawn = tqdm(workers.map(task, range(instances)), total=instances, desc="draw", unit="row")
        for instance, drawings in enumerate(drawn):
            pool[instance] = drawings
    pool.flush()
    return pool


def random_views(
    pool: NDArray[np.uint8], rng: Generator, number: int, settings: dict
) -> tuple[NDArray[np.int64], View]:
    """Return the classes (B,) of random drawings of the pool, and views of them, stacked."""
    instances = rng.integers(pool.shape[0], size=number)
    classes = rng.integers(pool.shape[1], size=number)
    views = [view(pool[i, c], rng, **settings) for i, c in zip(instances, classes, strict=True)]
    return classes, View(*(np.stack(values) for values in zip(*views, strict=True)))


def stain_map(stains: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """Return stains (B, S, S, 3) as means and deviations in cells, (B, S/cell, S/cell, 6)."""
    # Two sums along one axis each are faster than one along both.
    both = np.concatenate([stains, stains**2], axis=-1)
    side = both.shape[1] // cell
    rows = both.reshape(len(both), side, cell, -1).mean(2)
    mean, square = np.split(rows.reshape(len(both), side, side, cell, 6).mean(3), 2, axis=-1)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.float32(2.0) * np.concatenate([mean, deviation], axis=-1)


class Targets:
    """What to learn from views.

    The numbers to regress, of formula and view, are scaled to mean 0 and deviation 1 on the pool.
    `settings` are those of `view`.
    """

    def __init__(self, pool: NDArray[np.uint8], *, seed: int, settings: dict) -> None:
        self.seed, self.settings = seed, settings
        self.formulas = np.stack([Formula(i, seed=seed).values() for i in range(pool.shape[1])])
        rng = np.random.default_rng([seed, SCALING])
        numbers = self._numbers(*random_views(pool, rng, 512, settings))
        # The floor keeps colours that hardly ever occur from outweighing the others.
        self.mean, self.scale = numbers.mean(0), numbers.std(0) + 0.02

    def _numbers(self, classes: NDArray[np.int64], views: View) -> NDArray[np.float32]:
        return np.concatenate([self.formulas[classes], views.facts], axis=1)

    def batches(
        self, pool: NDArray[np.uint8], *, batch_size: int, purpose: int = TRAINING
    ) -> Iterator[tuple[NDArray[np.uint8], dict]]:
        """Yield batches without end, the k-th a function of the seed, `purpose` and k alone."""
        for k in count():
            rng = np.random.default_rng([self.seed, purpose, k])
            classes, views = random_views(pool, rng, batch_size, self.settings)
            scaled = (self._numbers(classes, views) - self.mean) / self.scale
            facts = np.clip(scaled, -4, 4).astype(np.float32)
            maps = {name: stain_map(views.stains, cell) for name, cell in CELLS.items()}
            yield views.picture, {"formula": classes, "facts": facts, **maps}
