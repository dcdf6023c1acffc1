"""Crops of an image at a higher magnification, where a shrunk core has lost its cells."""

import numpy as np
from numpy.typing import NDArray

from stages.images.quality import tissue_mask


def choose_crops(image: NDArray[np.uint8], *, count: int, zoom: int) -> NDArray[np.uint8]:
    """Return the crops with the most tissue, as uint8 (count, S, S, 3).

    Args:
        image: RGB uint8 (zoom * S, zoom * S, 3), `zoom` times as large as the crops.
        count: number of crops.
        zoom: the image is laid out as zoom x zoom crops that do not overlap.

    Returns:
        The chosen crops in reading order; of crops with equally much tissue, the first ones.
    """
    side = image.shape[0] // zoom
    tiles = image.reshape(zoom, side, zoom, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    if count == len(tiles):
        return tiles
    mask = tissue_mask(image).reshape(zoom, side, zoom, side)
    chosen = np.argsort(-mask.mean(axis=(1, 3)).ravel(), kind="stable")[:count]
    return tiles[np.sort(chosen)]
