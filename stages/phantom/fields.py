"""Random fields that shape the tissue.

Lengths are in reference pixels: the frame is 448 of them wide (about 1.1 mm), whatever the size
of the picture, so that an architecture is the same picture at any size.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]
REFERENCE = 448


def noise(rng: Generator, shape: tuple[int, int], grain: float) -> Field:
    """Return smooth noise, float32 `shape`, mean 0, deviation near 1, `grain` pixels coarse."""
    rows, columns = (max(2, round(n / max(grain, 1.0)) + 1) for n in shape)
    coarse = rng.standard_normal((rows, columns), np.float32)
    if (rows, columns) == shape:
        return coarse
    method = Image.Resampling.BICUBIC if grain > 6 else Image.Resampling.BILINEAR
    image = Image.fromarray(coarse).resize((shape[1], shape[0]), method)
    return np.asarray(image, np.float32)


def texture(rng: Generator, u: Field, v: Field, grains: tuple[float, float]) -> Field:
    """Return value noise looked up at (u, v), float32 0..1, stretched to `grains` along u and v."""
    table = rng.random((128, 128), np.float32).ravel()
    a, b = u * np.float32(1 / grains[0]), v * np.float32(1 / grains[1])
    i, j = np.floor(a), np.floor(b)
    a -= i
    b -= j
    column, row = i.astype(np.int32) & 127, (j.astype(np.int32) & 127) << 7
    right, below = (column + 1) & 127, (row + 128) & 16383
    top = table[row + column] * (1 - a) + table[row + right] * a
    bottom = table[below + column] * (1 - a) + table[below + right] * a
    return top + (bottom - top) * b
