"""Turn drawn stain amounts into coloured, cropped, degraded training pictures and their targets.

Colour is mostly a nuisance, so every view gets stains of its own. But colour also tells tissues
apart, so the targets also contain what was stained how strongly.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pretrain.textures import AMOUNT_SCALE
from tissue.common.stains import DAB, HAEMATOXYLIN

EOSIN = (0.09, 0.95, 0.29)
ERYTHROCYTE = (0.15, 0.65, 0.74)
HISTOGRAM_LEVELS = 4  # per channel
_DARKNESS = -np.log(np.arange(1, 257) / 256.0).astype(np.float32)  # of each grey level


class View(NamedTuple):
    """A training picture and what is known of it."""

    picture: NDArray[np.uint8]  # (side, side, 3)
    facts: NDArray[np.float32]  # (T,): stains, their amounts, colours
    stains: NDArray[np.float32]  # (side, side, 3): amounts, before the picture was degraded


def view(amounts: NDArray[np.uint8], rng: Generator, *, side: int, crop: list[float]) -> View:
    """Return a random view of drawn stain amounts, uint8 (size, size, 3).

    `crop` is the smallest and the largest side of the crop, as shares of the size.
    """
    vectors, strength = _palette(rng)
    strength = strength * np.exp(rng.normal(0.1, 0.35, 3))
    cropped = _crop(amounts, rng, side, crop).astype(np.float32)
    stains = cropped * (strength / AMOUNT_SCALE).astype(np.float32)
    lamp = rng.uniform(225, 255) * (1 + rng.normal(0, 0.01, 3))
    light = lamp.astype(np.float32) * np.exp(-(stains @ vectors.astype(np.float32)))
    picture = _degrade(light, rng)
    facts = [
        np.log(strength + 0.05),
        np.ravel(vectors),
        *_moments(stains),
        *_moments(_DARKNESS[picture]),
        colour_histogram(picture),
    ]
    return View(picture, np.concatenate(facts).astype(np.float32), stains)


def colour_histogram(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the square roots of the shares of coarse colours, float32 (HISTOGRAM_LEVELS ** 3,)."""
    coarse = picture.reshape(-1, 3) // (256 // HISTOGRAM_LEVELS)
    number = coarse @ np.array([HISTOGRAM_LEVELS**2, HISTOGRAM_LEVELS, 1], np.uint8)
    counts = np.bincount(number, minlength=HISTOGRAM_LEVELS**3)
    return np.sqrt(counts / counts.sum()).astype(np.float32)


def _moments(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and deviation of each channel, (3,) each, of values (S, S, 3)."""
    # As products: NumPy's mean over a long axis beside a short one is ten times slower.
    pixels = values.reshape(-1, 3)
    share = np.full(len(pixels), 1 / len(pixels), np.float32)
    mean = share @ pixels
    return mean, np.sqrt(np.maximum(share @ pixels**2 - mean**2, 0.0))


def _crop(
    amounts: NDArray[np.uint8], rng: Generator, side: int, crop: list[float]
) -> NDArray[np.uint8]:
    """Return a random square of the drawing, turned or mirrored, antialiased to `side`."""
    size = amounts.shape[0]
    width = int(size * np.exp(rng.uniform(*np.log(crop))))
    top, left = rng.integers(size - width + 1, size=2)
    image = Image.fromarray(amounts[top : top + width, left : left + width])
    small = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    small = np.rot90(small, int(rng.integers(4)))
    return small[:, ::-1] if rng.random() < 0.5 else small


def _palette(rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return absorption vectors (3, 3) and strengths (3,) of granules, counterstain and label."""
    kind = rng.random()
    if kind < 0.5:  # haematoxylin and eosin
        vectors = np.array([HAEMATOXYLIN, EOSIN, ERYTHROCYTE])
        strength = np.array([1.4, 0.8, 0.6])
    elif kind < 0.8:  # haematoxylin and a brown label, from none to almost black
        vectors = np.array([HAEMATOXYLIN, HAEMATOXYLIN, DAB])
        strength = np.array([1.0, rng.uniform(0.1, 0.6), rng.uniform(0.0, 2.5)])
        if rng.random() < 0.5:  # the label can also lie where the counterstain is
            vectors[1] = DAB
    else:
        vectors = np.abs(rng.normal(0.0, 1.0, (3, 3)))
        strength = rng.uniform(0.3, 1.5, 3)
    vectors = np.abs(vectors + rng.normal(0.0, 0.07, (3, 3)))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strength


def _degrade(light: NDArray[np.float32], rng: Generator) -> NDArray[np.uint8]:
    """Return the picture as a microscope and a file format might: blurred, noisy, compressed."""
    if rng.random() < 0.3:
        light = gaussian_filter(light, rng.uniform(0.3, 1.2), axes=(0, 1))
    if rng.random() < 0.3:
        light = light + rng.uniform(1, 8) * rng.standard_normal(light.shape, np.float32)
    picture = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=int(rng.integers(40, 95)))
        picture = np.asarray(Image.open(file))
    return picture
