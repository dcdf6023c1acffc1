"""What the audit measures on: training and validation images, and all that is known of them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.data.features import mean_features
from tissue.data.index import Dataset, locate_rows, read_split

SPLITS = ("train", "val")  # never the test set
FEWEST = 2  # groups of a class: one to learn from, one to be asked about
LEVELS = 16  # of each colour channel in a histogram
STEP = 2  # every second pixel is enough for a histogram
SIZE = "size"  # what shows no tissue at all
QUALITY = "tissue_and_blur"
COLOUR = "colour"
SHORTCUTS = "all_shortcuts"


class Examples(NamedTuple):
    """Images of training and validation, each class of which has two groups or more.

    Attributes:
        labels: class numbers, int64 (N,).
        groups: number of the donor, or whatever else was kept together, int64 (N,).
        features: mean over the views, float32 (N, D).
        whole: the part of the features that is of the whole image, (N, D or D / 2).
        shortcuts: by name, what is known of an image without its architecture, float64 (N, K).
        left_out: how many images of training and validation belong to each class that is left out.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    features: NDArray[np.float32]
    whole: NDArray[np.float32]
    shortcuts: dict[str, NDArray[np.float64]]
    left_out: dict[str, int]

    @property
    def can_be_divided(self) -> bool:
        """Whether there are two classes, each with groups to learn from and to be asked about."""
        return len(np.unique(self.labels)) > 1

    def counts(self) -> dict[str, Any]:
        """Return what was audited, for `metrics/audit.json`; `chance` is of the largest class."""
        counts = {
            "images": len(self.labels),
            "groups": len(np.unique(self.groups)),
            "classes": len(np.unique(self.labels)),
            "left_out": self.left_out,
        }
        chance = np.bincount(self.labels).max() / len(self.labels) if len(self.labels) else 0.0
        return counts | {"chance": float(chance)}


def read_examples(split: Path, embed: Path, *, max_images: int, seed: int) -> Examples:
    """Read training and validation, or whole groups of them with at most about `max_images`.

    Raises:
        InputError: if an image has no features.
    """
    datasets = {name: read_split(split, name) for name in SPLITS}
    index = pd.concat([data.index.assign(split=name) for name, data in datasets.items()])
    index = _sample_groups(index, max_images, seed)
    groups = index.groupby("class")["group"].transform("nunique")
    left_out = index.loc[groups < FEWEST, "class"].value_counts().sort_index()
    index = index[groups >= FEWEST]
    by_split = index.groupby("split", sort=False)
    features = [mean_features(rows, str(name), embed) for name, rows in by_split]
    joined = np.concatenate(features) if features else np.zeros((0, 0), np.float32)
    has_crops = datasets["train"].crops is not None  # their features follow those of the image
    return Examples(
        labels=index["label"].to_numpy(np.int64),
        groups=pd.factorize(index["group"], sort=True)[0],
        features=joined,
        whole=joined[:, : joined.shape[1] // 2] if has_crops else joined,
        shortcuts=_shortcuts(index, datasets),
        left_out={str(name): int(number) for name, number in left_out.items()},
    )


def _sample_groups(index: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Keep whole groups: a sample of their images would hide what they have in common."""
    if len(index) <= most:
        return index
    sizes = index["group"].value_counts().sort_index()
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = sizes.to_numpy()[order].cumsum() - sizes.to_numpy()[order]
    kept = sizes.index[order[before < most]]
    return index[index["group"].isin(kept)]


def _shortcuts(index: pd.DataFrame, datasets: dict[str, Dataset]) -> dict[str, NDArray[np.float64]]:
    side = index[["width", "height"]].to_numpy(np.float64)
    aspect = side.max(axis=1, keepdims=True) / side.min(axis=1, keepdims=True)
    quality = index[["tissue_fraction", "blur"]].to_numpy(np.float64)
    histograms = [
        colour_histogram(datasets[str(name)].images[row])
        for name, rows in index.groupby("split", sort=False)
        for row in locate_rows(rows["id"], datasets[str(name)].index, what=f"data/split/{name}")
    ]
    known = {
        SIZE: np.hstack([side, aspect]),
        QUALITY: quality,
        COLOUR: np.array(histograms).reshape(len(index), -1),
    }
    return known | {SHORTCUTS: np.hstack(list(known.values()))}


def colour_histogram(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the shares of 16 levels of R, then G, then B, (48,): colours without their places."""
    pixels = image[::STEP, ::STEP].reshape(-1, 3) // (256 // LEVELS)
    counts = [np.bincount(channel, minlength=LEVELS) for channel in pixels.T]
    return np.concatenate(counts) / len(pixels)
