"""Cached features of images, a vector for each view."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.data.index import (
    check_rows,
    locate_rows,
    read_array,
    read_index,
    read_split,
    stratified_sample,
)
from tissue.data.shards import Array, RowSelection, Shards, shards_of

STAINED = "train_stained"  # as a part: the training images in other stains
NETWORK_FILE = (
    "network.json"  # beside the features: the parameters of `pretrained` that they hang on
)
RECORDED = ("backbone", "weights", "sha256", "strides", "onnx", "views")


def read_features(ids: pd.Series, part: str, embed: Path) -> RowSelection:
    """Return the cached features float32 (N, views, D) of images of a part, in the order of `ids`.

    They are read from the files when rows are asked for.

    Raises:
        ValueError: if an image has no features.
    """
    index = read_index(embed / f"{part}.csv")
    features = read_array(embed / f"{part}.npy")
    check_rows(features, index, embed / f"{part}.npy", stage="embed")
    return RowSelection(features, locate_rows(ids, index, what=f"{embed}/{part}"))


def flatten_views(*features: RowSelection) -> RowSelection:
    """Return features (N, views, D) as (N * views, D): each view is a row of its own.

    Several, which may have other numbers of images and views, follow each other.
    """
    arrays, rows, start = list[Array](), [], 0
    for each in features:
        _, views, width = each.shape
        rows.append(start + (each.rows[:, None] * views + np.arange(views)).ravel())
        arrays += shards_of(each.array.reshape(-1, width))
        start = sum(map(len, arrays))
    return RowSelection(Shards(arrays) if len(arrays) > 1 else arrays[0], np.concatenate(rows))


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


MAPPED_SPLITS = ("train", "test")
THUMBNAIL = 28


def joint_index(split: Path, *, max_images: int, seed: int) -> pd.DataFrame:
    """Return the tables of training and test with the column `split`, one below the other.

    With more than `max_images`, each class of each part keeps its share, drawn at random.
    """
    tables = [read_index(split / f"{part}.csv").assign(split=part) for part in MAPPED_SPLITS]
    index = pd.concat(tables, ignore_index=True)
    kept = stratified_sample(index, ["split", "class"], most=max_images, seed=seed)
    return index.iloc[kept].reset_index(drop=True)


def joint_features(index: pd.DataFrame, embed: Path) -> NDArray[np.float32]:
    """Return standardised features float32 (N, D) of a joint index."""
    parts = [mean_features(rows, part, embed) for part, rows in index.groupby("split", sort=False)]
    features = np.concatenate(parts)
    # A feature that hardly varies says nothing; the small number keeps it from being blown up.
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)


def joint_pixels(index: pd.DataFrame, split: Path) -> NDArray[np.float32]:
    """Return thumbnails float32 (N, K) of the images of a joint index, about 28 pixels a side."""
    thumbnails = []
    for name, rows in index.groupby("split", sort=False):
        part = read_split(split, str(name))
        step = max(1, part.images.shape[1] // THUMBNAIL)
        kept = part.images.shape[1] // step * step
        for row in locate_rows(rows["id"], part.index, what=f"{split}/{name}"):
            blocks = np.asarray(part.images[row][:kept, :kept], np.float32)
            blocks = blocks.reshape(kept // step, step, kept // step, step, 3)
            thumbnails.append(blocks.mean(axis=(1, 3)).ravel())
    return np.array(thumbnails)
