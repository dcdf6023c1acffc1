"""Random changes that leave the organ as it is: turns, zoom and staining."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tissue.common.stains import draw_stain_factors, scale_stains

Kind = TypeVar("Kind", bound=np.generic)

COUNT = 8  # views of an image that has no up: its quarter turns and mirror images


def dihedral(images: NDArray[Kind], view: int) -> NDArray[Kind]:
    """Return view 0 to 7 of images (..., S, S, C): 0 as it is, 1-3 quarter turns, 4-7 mirrored."""
    if not 0 <= view < COUNT:
        raise ValueError(f"view: expected 0 to {COUNT - 1}. Received: {view}")
    turned = np.rot90(images, view % 4, axes=(-3, -2))
    return turned[..., ::-1, :] if view >= 4 else turned


def augment(
    images: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    zoom: float,
    stain_jitter: float = 0.0,
    factors: NDArray[np.float32] | None = None,
    size: int | None = None,
) -> NDArray[np.uint8]:
    """Return changed copies of images uint8 (N, S, S, 3), of side `size` if given.

    Each is turned or mirrored into one of its eight views, since tissue has no up; cropped by up
    to the share `zoom` of its side and resized; and its haematoxylin and DAB are multiplied by
    factors whose logarithm has the standard deviation `stain_jitter`, as another batch of the
    stains would do (after Tellez et al. 2019, arXiv 1902.06543), or by the given `factors` (N, 3).
    """
    side = size or images.shape[1]
    changed = np.empty((len(images), side, side, 3), np.uint8)
    for row, image in enumerate(images):
        # The small image is what is stained: a quarter of the pixels for half the side.
        cropped = _crop(image, rng, zoom=zoom, size=side)
        turned = dihedral(cropped, int(rng.integers(COUNT)))
        drawn = draw_stain_factors(rng, stain_jitter) if factors is None else factors[row]
        changed[row] = scale_stains(turned, drawn)
    return changed


def shrink(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return images uint8 (N, S, S, 3) at the side `size`, unchanged otherwise."""
    if images.shape[1] == size:
        return np.asarray(images)
    whole = (0.0, 0.0, float(images.shape[1]), float(images.shape[1]))
    return np.stack([_resize(image, whole, size) for image in images])


def mix(
    images: NDArray[np.uint8], targets: NDArray[np.float32], rng: np.random.Generator, alpha: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Mix each image (N, S, S, 3) and its target (N, classes) with another of the batch.

    One share a batch, from a beta distribution (Zhang et al. 2018, mixup, arXiv 1710.09412).
    """
    share = np.float32(rng.beta(alpha, alpha))
    others = rng.permutation(len(images))
    mixed = images * share + images[others] * (1 - share)
    return np.rint(mixed).astype(np.uint8), targets * share + targets[others] * (1 - share)


def _crop(
    image: NDArray[np.uint8], rng: np.random.Generator, *, zoom: float, size: int
) -> NDArray[np.uint8]:
    side = image.shape[0]
    kept = side * (1 - zoom * rng.random())
    left, top = rng.random(2) * (side - kept)
    return _resize(image, (left, top, left + kept, top + kept), size)


def _resize(
    image: NDArray[np.uint8], box: tuple[float, float, float, float], size: int
) -> NDArray[np.uint8]:
    # Pillow's bilinear filter is antialiased where it shrinks, as the network's own layer is.
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))
