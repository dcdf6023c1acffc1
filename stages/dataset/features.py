"""Cached features of images, a vector for each view."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.index import read_array, read_index, rows_of


def read_features(ids: pd.Series, part: str, embed: Path) -> NDArray[np.float32]:
    """Return the cached features float32 (N, views, D) of images of a part, in the order of `ids`.

    Raises:
        ValueError: if an image has no features.
    """
    features, rows = _open(ids, part, embed)
    return features[rows]


def mean_features(index: pd.DataFrame, part: str, embed: Path) -> NDArray[np.float32]:
    """Return the features float32 (N, D) of the images of a table, mean of their views.

    Args:
        index: the images, by `id`.
        part: train, val or test, where they are cached.
        embed: the folder that `embed` wrote.

    Raises:
        ValueError: if an image has no features.
    """
    features, rows = _open(index["id"], part, embed)
    # Image by image: all views of all images together may be larger than the memory.
    return np.stack([np.asarray(features[row]).mean(axis=0) for row in rows])


def _open(ids: pd.Series, part: str, embed: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rows = rows_of(ids, read_index(embed / f"{part}.csv"), what=f"{embed}/{part}")
    return read_array(embed / f"{part}.npy"), rows
