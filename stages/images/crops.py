"""Crops of an image at a higher magnification, where a shrunk core has lost its cells."""

import numpy as np
from numpy.typing import NDArray

from stages.images.quality import tissue_mask


def choose_crops(
    image: NDArray[np.uint8], *, within: tuple[slice, slice], count: int, zoom: int
) -> NDArray[np.uint8]:
    """Return the crops with the most tissue, as uint8 (count, S, S, 3).

    Args:
        image: RGB uint8 (zoom * S, zoom * S, 3), `zoom` times as large as the crops.
        within: rows and columns that are no padding, see `content_box`.
        count: number of crops.
        zoom: the image is laid out as zoom x zoom crops that do not overlap.

    Returns:
        The chosen crops in reading order; of crops with equally much tissue, the first ones.
    """
    side = image.shape[0] // zoom
    tiles = image.reshape(zoom, side, zoom, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    if count == len(tiles):
        return tiles
    mask = np.zeros(image.shape[:2], bool)
    mask[within] = tissue_mask(image[within])
    share = mask.reshape(zoom, side, zoom, side).mean(axis=(1, 3))
    chosen = np.argsort(-share.ravel(), kind="stable")[:count]
    return tiles[np.sort(chosen)]
