"""What `benchmarks.causes` plants: defects, a tissue that no class has, and wrong labels."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tissue.common.names import SYSTEMS
from tissue.common.stains import empty_slide, scale_stains
from tissue.data.index import QUALITY, Dataset
from tissue.images.quality import choose_crops, measure_quality
from tissue.phantom.core import ARCHITECTURES, SMALLEST, draw_core
from tissue.phantom.layers import Tissue
from tissue.phantom.plan import Core
from tissue.phantom.structures import voronoi

Picture = NDArray[np.uint8]
SHARE = 0.05  # of the images, for each kind


def fat(tissue: Tissue, donor: np.random.Generator) -> None:
    """Draw fat, a tissue that no class has: large empty cells with thin walls."""
    width = donor.uniform(18, 28)
    tissue.turn_axes()
    cells = voronoi(tissue, spacing=(width, width), jitter=0.4)
    wall = tissue.mask(0.9 - cells.edge)
    tissue.epithelium += 0.7 * wall
    tissue.border += 0.3 * wall
    tissue.add_nuclei(0.6 * wall, spacing=5)


def blur(image: Picture, rng: np.random.Generator) -> Picture:
    """Blur with a standard deviation of about a hundredth of the side."""
    width = rng.uniform(0.009, 0.0135) * image.shape[0]
    return np.rint(gaussian_filter(image.astype(np.float32), (width, width, 0))).astype(np.uint8)


def empty(image: Picture, rng: np.random.Generator) -> Picture:
    """Remove the tissue except at one edge of the core, a tenth to a fifth of it."""
    dark = image.min(axis=2) < 225
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.indices(dark.shape)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    lost = along < np.quantile(along[dark], 1 - rng.uniform(0.1, 0.2))
    glass = np.median(image[~dark], axis=0) + rng.normal(0, 1, image.shape)
    return np.where(lost[..., None], np.clip(np.rint(glass), 0, 255), image).astype(np.uint8)


def overstain(image: Picture, rng: np.random.Generator) -> Picture:
    """Make both stains four to five times as strong."""
    by = np.array([*rng.uniform(4, 5, 2), 1], np.float32)
    return scale_stains(image, by, empty_slide(image))


def replace_by_fat(image: Picture, rng: np.random.Generator) -> Picture:
    """Draw a new core of fat, a tissue that no class has."""
    ARCHITECTURES["fat"] = fat
    a, b, c, d = (int(n) for n in rng.integers(0, 2**31, 4))
    core = Core("", "test", "fat", "", "", "", 2 * SMALLEST, (a,), (b,), (c,), (d,))
    return shrink(draw_core(core), image.shape[0])


TRANSFORMS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "blur": blur,
    "little_tissue": empty,
    "extreme_stain": overstain,
    "unlike_training": replace_by_fat,
}


def partners(classes: list[str]) -> dict[str, int]:
    """Return the label of the other class of the same organ system, of classes that have one."""
    return {
        name: label
        for name in classes
        for label, other in enumerate(classes)
        if name != other and SYSTEMS[name] == SYSTEMS[other]
    }


def relabel(
    index: pd.DataFrame, rows: NDArray[np.int64], classes: list[str], *, seed: int, near: bool
) -> None:
    """Give these rows the label of another class, `near` of the same organ system, in place."""
    labels = index["label"].to_numpy().copy()
    if near:
        labels[rows] = index["class"].iloc[rows].map(partners(classes))
    else:
        steps = np.random.default_rng(seed).integers(1, len(classes), len(rows))
        labels[rows] = (labels[rows] + steps) % len(classes)
    index["label"], index["class"] = labels, np.asarray(classes)[labels]


def plant(
    dataset: Dataset, classes: list[str], *, zoom: int, seed: int
) -> tuple[Dataset, pd.Series]:
    """Return a transformed test set, and what was planted in each row.

    Crops, which have to cover the image, are transformed at their own magnification.
    """
    rng = np.random.default_rng(seed)
    images, index = np.array(dataset.images), dataset.index.copy()
    crops = None if dataset.crops is None else np.array(dataset.crops)
    planted = pd.Series("", index.index)
    count = max(1, round(SHARE * len(index)))
    order = rng.permutation(len(index))
    for number, (kind, transform) in enumerate(TRANSFORMS.items()):
        for row in order[number * count : (number + 1) * count]:
            if crops is None:
                images[row] = transform(images[row], rng)
            else:
                large = transform(assemble(crops[row], zoom), rng)
                images[row] = shrink(large, images.shape[1])
                crops[row] = choose_crops(large, within=np.s_[:, :], count=zoom**2, zoom=zoom)
            index.loc[row, QUALITY] = pd.Series(measure_quality(images[row]))
            planted[row] = kind
    rows = order[len(TRANSFORMS) * count : (len(TRANSFORMS) + 1) * count]
    relabel(index, rows, classes, seed=seed, near=False)
    planted[rows] = "suspect_label"
    return Dataset(images, index, crops), planted


def assemble(crops: Picture, zoom: int) -> Picture:
    """Return the image that was cut into zoom x zoom crops."""
    side = crops.shape[1]
    tiles = crops.reshape(zoom, zoom, side, side, 3).swapaxes(1, 2)
    return tiles.reshape(zoom * side, zoom * side, 3)


def shrink(image: Picture, side: int) -> Picture:
    """Return an image shrunk to a side, antialiased."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
