"""Whether the cause that is named is the cause that was planted: `python -m benchmarks.causes`.

Reads `data/split`, `data/embed` and `data/models` of the phantom, changes nothing there.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from stages.images.quality import measure
from stages.images.stains import scale
from stages.phantom.architectures import ARCHITECTURES
from stages.phantom.cellular import cells
from stages.phantom.core import picture
from stages.phantom.plan import Core
from stages.phantom.tissue import Tissue

Picture = NDArray[np.uint8]
QUALITY = ["tissue_fraction", "blur", "haematoxylin", "dab"]
SHARE = 0.05  # of the test images, for each kind


def fat(tissue: Tissue, donor: np.random.Generator) -> None:
    """Draw fat, of which the twelve classes know nothing: large empty cells with thin walls."""
    rng = tissue.rng
    width = donor.uniform(18, 28)
    tissue.turn(rng.uniform(0, 2 * np.pi))
    plan = cells(rng, tissue.u, tissue.v, spacing=(width, width), jitter=0.4)
    wall = tissue.soft(0.9 - plan.edge)
    tissue.epithelium += 0.7 * wall
    tissue.border += 0.3 * wall
    tissue.sow(0.6 * wall, spacing=5)


def blurred(image: Picture, rng: np.random.Generator) -> Picture:
    """Out of focus, by two to three pixels."""
    width = rng.uniform(2, 3)
    return np.rint(gaussian_filter(image.astype(np.float32), (width, width, 0))).astype(np.uint8)


def emptied(image: Picture, rng: np.random.Generator) -> Picture:
    """All lost but a piece at the edge of the core, a tenth to a fifth of its tissue."""
    dark = image.min(axis=2) < 225
    rows, columns = np.nonzero(dark)
    angle = rng.uniform(0, 2 * np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    cut = np.quantile(along, 1 - rng.uniform(0.1, 0.2))
    place = np.indices(dark.shape)
    lost = place[0] * np.sin(angle) + place[1] * np.cos(angle) < cut
    glass = np.median(image[~dark], axis=0) + rng.normal(0, 1, image.shape)
    return np.where(lost[..., None], np.clip(np.rint(glass), 0, 255), image).astype(np.uint8)


def overstained(image: Picture, rng: np.random.Generator) -> Picture:
    """Both stains four to five times as strong."""
    return scale(image, np.array([*rng.uniform(4, 5, 2), 1], np.float32))


def thirteenth(image: Picture, rng: np.random.Generator) -> Picture:
    """A core of a tissue that no class holds, drawn afresh."""
    ARCHITECTURES["fat"] = fat
    a, b, c, d = (int(n) for n in rng.integers(0, 2**31, 4))
    core = Core("", "test", "fat", "", "", "", 448, (a,), (b,), (c,), (d,))
    side = image.shape[0]
    drawn = Image.fromarray(picture(core))
    return np.asarray(drawn.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0))


CHANGES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "blur": blurred,
    "little_tissue": emptied,
    "extreme_stain": overstained,
    "unlike_training": thirteenth,
}


def relabel(index: pd.DataFrame, rows: NDArray[np.int64], classes: list[str], seed: int) -> None:
    """Give these rows the name of another class, any but their own."""
    rng = np.random.default_rng(seed)
    labels = index["label"].to_numpy().copy()
    labels[rows] = (labels[rows] + rng.integers(1, len(classes), len(rows))) % len(classes)
    index["label"] = labels
    index["class"] = np.asarray(classes)[labels]


def plant(
    images: Picture, index: pd.DataFrame, classes: list[str], *, share: float, seed: int
) -> tuple[Picture, pd.DataFrame, pd.Series]:
    """Return changed images and index of the test part, and what was planted in each row."""
    rng = np.random.default_rng(seed)
    images, index = np.array(images), index.copy()
    planted = pd.Series("", index.index)
    count = max(1, round(share * len(index)))
    order = rng.permutation(len(index))
    for number, (kind, change) in enumerate(CHANGES.items()):
        for row in order[number * count : (number + 1) * count]:
            images[row] = change(images[row], rng)
            index.loc[row, QUALITY] = pd.Series(measure(images[row]))
            planted[row] = kind
    rows = order[len(CHANGES) * count : (len(CHANGES) + 1) * count]
    relabel(index, rows, classes, seed)
    planted[rows] = "suspect_label"
    return images, index, planted
