"""Draws the training pool once, on several processes, into one memory-mapped array."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pretrain.formulas import formula
from pretrain.textures import draw


def draw_row(instance: int, *, classes: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Return one instance of every class, uint8 (classes, size, size, 3)."""
    return np.stack(
        [
            draw(formula(index, seed=seed), size=size, seed=[seed, 2, index, instance])
            for index in range(classes)
        ]
    )


def draw_pool(
    path: Path, *, classes: int, instances: int, size: int, seed: int, processes: int
) -> NDArray[np.uint8]:
    """Write and return the pool, uint8 (instances, classes, size, size, 3), memory-mapped.

    Every picture has a seed of its own, so that the number of processes changes nothing.
    """
    shape = (instances, classes, size, size, 3)
    pool = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    task = partial(draw_row, classes=classes, size=size, seed=seed)
    with ProcessPoolExecutor(processes) as workers:
        rows = tqdm(workers.map(task, range(instances)), total=instances, desc="draw", unit="row")
        for instance, row in enumerate(rows):
            pool[instance] = row
    pool.flush()
    return pool
