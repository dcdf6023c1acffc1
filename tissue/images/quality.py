"""Measure how much tissue an image shows, how sharp it is and how strongly it is stained."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tissue.common.stains import DENSITY_TO_STAIN, TISSUE_DENSITY, slide_levels

BLANK = 0.02  # an image with a smaller share of tissue is nearly empty and shows no organ
REBLUR = 9  # pixels; the width Crete et al. use


def measure_quality(image: NDArray[np.uint8]) -> dict[str, float]:
    """Return the quality measures of an image, RGB uint8 (H, W, 3).

    The image must not have the padding of a decoded square (see `content_box`): white padding would
    be taken for the empty slide, and a slide that is greyer for tissue.

    - tissue_fraction: share of pixels, 0 to 1, that are darker than the empty slide;
    - blur: 0 (sharp) to 1 (blurred, or no tissue at all), whatever the strength of the stain;
      only comparable between images of one size, since shrinking sharpens;
    - haematoxylin, dab: mean optical density of the stain over the tissue, 0 without tissue.
    """
    densities = _densities(image)
    grey = densities.mean(0)
    tissue = _is_tissue(grey)
    if not tissue.any():
        return {"tissue_fraction": 0.0, "blur": 1.0, "haematoxylin": 0.0, "dab": 0.0}
    stains = np.maximum(densities[:, tissue].mean(1, dtype=np.float64) @ DENSITY_TO_STAIN, 0)
    return {
        "tissue_fraction": float(tissue.mean()),
        "blur": _blur(grey, tissue),
        "haematoxylin": float(stains[0]),
        "dab": float(stains[1]),
    }


def choose_crops(
    image: NDArray[np.uint8], *, within: tuple[slice, slice], count: int, zoom: int
) -> NDArray[np.uint8]:
    """Return the crops with the most tissue, uint8 (count, S, S, 3).

    Args:
        image: RGB uint8 (zoom * S, zoom * S, 3); its zoom x zoom crops do not overlap.
        within: rows and columns that are no padding, see `content_box`.
        count: number of crops.
        zoom: magnification of the crops.

    Returns:
        The chosen crops in reading order; of crops with equally much tissue, the first ones.
    """
    side = image.shape[0] // zoom
    tiles = image.reshape(zoom, side, zoom, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    if count == len(tiles):
        return tiles
    tissue = np.zeros(image.shape[:2], bool)
    tissue[within] = _is_tissue(_densities(image[within]).mean(0))
    share = tissue.reshape(zoom, side, zoom, side).mean(axis=(1, 3))
    chosen = np.argsort(-share.ravel(), kind="stable")[:count]
    return tiles[np.sort(chosen)]


def _densities(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return optical densities relative to the empty slide, float32 (3, H, W)."""
    planes = []
    for channel, slide in zip(np.moveaxis(image, 2, 0), slide_levels(image), strict=True):
        of_level = np.log(slide / np.maximum(np.arange(256), 1)).astype(np.float32)
        planes.append(of_level[channel])
    return np.stack(planes)


def _is_tissue(density: NDArray[np.float32]) -> NDArray[np.bool_]:
    return ndimage.uniform_filter(density, 3) > TISSUE_DENSITY


def _blur(density: NDArray[np.float32], tissue: NDArray[np.bool_]) -> float:
    """Return 0 (sharp) to 1 (blurred), from the share of detail that is lost by further blurring.

    F. Crete et al., "The blur effect", SPIE 6492 (2007), on optical density instead of light: a
    stain twice as strong doubles every difference of densities and does not change their ratio.
    They take the larger value of the two directions. This takes the smaller, because parallel
    fibres are smooth along themselves; so blur in one direction alone is underrated.
    """
    least = 1.0
    for grey, within in ((density, tissue[1:]), (density.T, tissue.T[1:])):
        blurred = ndimage.uniform_filter1d(grey, REBLUR, axis=0)
        before = np.abs(np.diff(grey, axis=0))[within]
        after = np.abs(np.diff(blurred, axis=0))[within]
        total = float(before.sum())
        lost = float(np.maximum(before - after, 0).sum())
        least = min(least, 1 - lost / total if total > 0 else 1.0)
    return least
