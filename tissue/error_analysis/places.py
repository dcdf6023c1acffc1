"""Where the crops of an image lie in it, and maps drawn at another size."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment

THUMBNAIL = 16  # pixels of a tile by which crops are located


def locate_crops(
    images: NDArray[np.uint8], crops: NDArray[np.uint8], *, zoom: int
) -> NDArray[np.int64]:
    """Return which of the zoom x zoom tiles of its image each crop shows, in reading order.

    `split` keeps the crops with the most tissue, and not their places. So crops are assigned to the
    tiles that they differ least from, each to another one.

    Args:
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3).
        zoom: magnification of the crops.

    Returns:
        Numbers of tiles, int64 (N, C).
    """
    if crops.shape[1] == zoom**2:  # there is no choice
        return np.tile(np.arange(zoom**2), (len(images), 1))
    places = np.zeros(crops.shape[:2], np.int64)
    for row, (image, some) in enumerate(zip(images, crops, strict=True)):
        small = _shrink(image, zoom * THUMBNAIL)
        tiles = small.reshape(zoom, THUMBNAIL, zoom, THUMBNAIL, 3).swapaxes(1, 2)
        shown = np.stack([_shrink(crop, THUMBNAIL).ravel() for crop in some])
        differences = shown[:, None] - tiles.reshape(1, zoom**2, -1)
        places[row] = linear_sum_assignment((differences**2).sum(axis=2))[1]
    return places


def _shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def tile_slices(place: int, zoom: int, side: int) -> tuple[slice, slice]:
    """Return the rows and columns of a tile in a map of `side` cells."""
    edges = np.rint(np.linspace(0, side, zoom + 1)).astype(int)
    row, column = divmod(place, zoom)
    return slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1])


def resize_maps(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a map float32 (h, w) at another size, smoothly, with the same mean."""
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    resized = np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
    return resized + (values.mean() - resized.mean())
