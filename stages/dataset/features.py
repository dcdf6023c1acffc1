"""Cached features of images, a vector for each view."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.index import check_rows, read_array, read_index, rows_of
from stages.dataset.shards import Chosen


def read_features(ids: pd.Series, part: str, embed: Path) -> Chosen:
    """Return the cached features float32 (N, views, D) of images of a part, in the order of `ids`.

    They are read from the files when rows are asked for.

    Raises:
        ValueError: if an image has no features.
    """
    index = read_index(embed / f"{part}.csv")
    features = read_array(embed / f"{part}.npy")
    check_rows(features, index, embed / f"{part}.npy", stage="embed")
    return Chosen(features, rows_of(ids, index, what=f"{embed}/{part}"))


def each_view(features: Chosen) -> Chosen:
    """Return features (N, views, D) as (N * views, D): each view is a row of its own."""
    _, views, width = features.shape
    rows = features.rows[:, None] * views + np.arange(views)
    return Chosen(features.array.reshape(-1, width), rows.ravel())


def mean_features(index: pd.DataFrame, part: str, embed: Path) -> NDArray[np.float32]:
    """Return the features float32 (N, D) of the images of a table, mean of their views.

    Args:
        index: the images, by `id`.
        part: train, val or test, where they are cached.
        embed: the folder that `embed` wrote.

    Raises:
        ValueError: if an image has no features.
    """
    # Image by image: all views of all images together may be larger than the memory.
    return np.stack([views.mean(axis=0) for views in read_features(index["id"], part, embed)])
