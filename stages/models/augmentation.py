"""Random changes that leave the organ as it is: turns, zoom and staining."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.images import stains
from stages.images.views import COUNT, dihedral


def augment(
    images: NDArray[np.uint8], rng: np.random.Generator, *, zoom: float, stain_jitter: float
) -> NDArray[np.uint8]:
    """Return changed copies of images uint8 (N, S, S, 3).

    Each is turned or mirrored into one of its eight views, since tissue has no up; cropped by up
    to the share `zoom` of its side and enlarged again; and its haematoxylin and DAB are multiplied
    by factors with the standard deviation `stain_jitter`, as another batch of the stains would do
    (Tellez et al. 2019, arXiv 1902.06543).
    """
    changed = np.empty_like(images)
    for row, image in enumerate(images):
        view = dihedral(image, int(rng.integers(COUNT)))
        changed[row] = _jitter(_crop(view, rng, zoom), rng, stain_jitter)
    return changed


def _crop(image: NDArray[np.uint8], rng: np.random.Generator, zoom: float) -> NDArray[np.uint8]:
    side = image.shape[0]
    kept = side * (1 - zoom * rng.random())
    left, top = rng.random(2) * (side - kept)
    box = (left, top, left + kept, top + kept)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, box=box))


def _jitter(image: NDArray[np.uint8], rng: np.random.Generator, amount: float) -> NDArray[np.uint8]:
    # The residual is kept: it holds no stain that could have been stronger.
    factors = np.append(np.exp(rng.normal(0.0, amount, 2)), 1.0).astype(np.float32)
    return stains.scale(image, factors)
