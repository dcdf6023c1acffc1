"""Random transforms that keep the organ recognisable: turns, mirroring, zoom and staining."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tissue.common.stains import draw_stain_factors, empty_slide, scale_stains

Value = TypeVar("Value", bound=np.generic)

VIEWS = 8  # tissue has no up: four quarter turns, each also mirrored


def dihedral(images: NDArray[Value], view: int) -> NDArray[Value]:
    """Return view 0 to 7 of images (..., S, S, C): 0 unchanged, 1-3 quarter turns, 4-7 mirrored."""
    if not 0 <= view < VIEWS:
        raise ValueError(f"view: expected 0 to {VIEWS - 1}. Received: {view}")
    turned = np.rot90(images, view % 4, axes=(-3, -2))
    return turned[..., ::-1, :] if view >= 4 else turned


def undo_dihedral(images: NDArray[Value], view: int) -> NDArray[Value]:
    """Turn view 0 to 7 of images, or of maps of them, (..., S, S, C) back; see `dihedral`."""
    turned = images[..., ::-1, :] if view >= 4 else images
    return np.rot90(turned, -(view % 4), axes=(-3, -2))


def augment(
    images: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    zoom: float,
    stain_jitter: float = 0.0,
    factors: NDArray[np.float32] | None = None,
    slides: NDArray[np.float32] | None = None,
    size: int | None = None,
) -> NDArray[np.uint8]:
    """Return randomly transformed copies of images.

    Args:
        images: uint8 (N, S, S, 3).
        rng: chooses the view, the crop and the stain factors of each image.
        zoom: largest share of the side that is cropped away before the image is resized.
        stain_jitter: standard deviation of the logarithm of the factors on haematoxylin and DAB,
            which imitate other batches of the stains (Tellez et al. 2019, arXiv 1902.06543).
        factors: stain factors (N, 3) to apply instead of random ones.
        slides: levels of the empty slide (N, 3), by default those of each image.
        size: side of the copies, by default S.
    """
    side, size = images.shape[1], size or images.shape[1]
    transformed = np.empty((len(images), size, size, 3), np.uint8)
    for row, image in enumerate(images):
        kept = side * (1 - zoom * rng.random())
        left, top = rng.random(2) * (side - kept)
        resized = _resize(image, (left, top, left + kept, top + kept), size)
        view = dihedral(resized, int(rng.integers(VIEWS)))
        # Stains come last: an image of half the side has a quarter of the pixels.
        by = draw_stain_factors(rng, stain_jitter) if factors is None else factors[row]
        slide = empty_slide(image) if slides is None else slides[row]
        transformed[row] = scale_stains(view, by, slide)
    return transformed


def shrink(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return images uint8 (N, S, S, 3) resized to the side `size`."""
    side = images.shape[1]
    if side == size:
        return np.asarray(images)
    return np.stack([_resize(image, (0, 0, side, side), size) for image in images])


def _resize(
    image: NDArray[np.uint8], box: tuple[float, float, float, float], size: int
) -> NDArray[np.uint8]:
    # Pillow's bilinear filter antialiases when it shrinks, as the resizing layer of Keras does.
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))
