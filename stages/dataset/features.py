"""Cached features of images, a vector for each view."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.index import check_rows, read_array, read_index, rows_of
from stages.dataset.shards import Array, Chosen, Shards, parts_of

STAINED = "train_stained"  # as a part: the training images in other stains
MADE_BY = "network.json"  # beside the features: the parameters of `pretrained` that they hang on
RECORDED = ("backbone", "weights", "sha256", "strides", "onnx", "views")


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


def each_view(*features: Chosen) -> Chosen:
    """Return features (N, views, D) as (N * views, D): each view is a row of its own.

    Several, which may have other numbers of images and views, follow each other.
    """
    arrays, rows, start = list[Array](), [], 0
    for each in features:
        _, views, width = each.shape
        rows.append(start + (each.rows[:, None] * views + np.arange(views)).ravel())
        arrays += parts_of(each.array.reshape(-1, width))
        start = sum(map(len, arrays))
    return Chosen(Shards(arrays) if len(arrays) > 1 else arrays[0], np.concatenate(rows))


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
