"""Cached features of images, scaled, and the joint table of training and test for t-SNE."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.files import read_json, reading
from tissue.data.index import check_rows, locate_rows, read_index, read_split, stratified_sample
from tissue.data.shards import RowSelection, read_array

STAINED = "train_stained"  # name of the features of restained training images
NETWORK_FILE = "network.json"  # beside the features: the parameters of `pretrained` they depend on
RECORDED = ("backbone", "weights", "sha256", "strides", "onnx", "views")
THUMBNAIL = 28  # about the side of thumbnails, in pixels


def read_network(folder: Path) -> dict[str, Any]:
    """Return the parameters of `pretrained` that the features depend on.

    Raises:
        InputError: if one is missing.
    """
    path = folder / NETWORK_FILE
    recorded = read_json(path)
    with reading(path):
        return {name: recorded[name] for name in RECORDED}


def read_features(ids: pd.Series, name: str, folder: Path) -> RowSelection:
    """Return the features float32 (N, views, D) of images of a split, in the order of `ids`.

    Rows are read from the files when they are indexed.

    Raises:
        InputError: if an image has no features.
    """
    index = read_index(folder / f"{name}.csv")
    features = read_array(folder / f"{name}.npy")
    check_rows(features, index, folder / f"{name}.npy", dimensions=3, stage="embed")
    return RowSelection(features, locate_rows(ids, index, what=f"{folder}/{name}"))


def mean_features(index: pd.DataFrame, name: str, folder: Path) -> NDArray[np.float32]:
    """Return the mean over the views of the features, float32 (N, D), of images by `id`.

    Raises:
        InputError: if an image has no features.
    """
    # Image by image: all views of all images may not fit into memory.
    return np.stack([views.mean(axis=0) for views in read_features(index["id"], name, folder)])


class Scaling(NamedTuple):
    """Mean and standard deviation of the rooted features of training images, (D,) each."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return features (N, D) rooted and standardised.

        Pooled activations are skewed counts of patterns. The Euclidean distance of their roots is
        the Hellinger distance (Arandjelovic and Zisserman 2012, "Three things everyone should know
        to improve object retrieval").
        """
        # The small number limits the weight of features that hardly vary.
        return (_rooted(features) - self.mean) / (self.spread + 1e-3)


def fit_scaling(train: NDArray[np.float32]) -> Scaling:
    """Fit the scaling on the features (N, D) of training images."""
    rooted = _rooted(train)
    return Scaling(rooted.mean(axis=0), rooted.std(axis=0))


def _rooted(features: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sign(features) * np.sqrt(np.abs(features, dtype=np.float64))


def joint_index(split_folder: Path, *, max_images: int, seed: int) -> pd.DataFrame:
    """Return the tables of training and test below each other, with the column `split`.

    Above `max_images`, a random sample of each class and split with the same share.
    """
    tables = [
        read_index(split_folder / f"{name}.csv").assign(split=name) for name in ("train", "test")
    ]
    index = pd.concat(tables, ignore_index=True)
    with reading(split_folder):  # a table that has no classes
        kept = stratified_sample(index, ["split", "class"], most=max_images, seed=seed)
    return index.iloc[kept].reset_index(drop=True)


def joint_features(index: pd.DataFrame, embed_folder: Path) -> NDArray[np.float32]:
    """Return the standardised features float32 (N, D) of a joint index."""
    splits = index.groupby("split", sort=False)
    features = np.concatenate([mean_features(rows, name, embed_folder) for name, rows in splits])
    # The small number keeps a feature that hardly varies from being blown up.
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)


def joint_pixels(index: pd.DataFrame, split_folder: Path) -> NDArray[np.float32]:
    """Return thumbnails float32 (N, K) of the images of a joint index."""
    thumbnails = []
    for name, rows in index.groupby("split", sort=False):
        dataset = read_split(split_folder, str(name))
        step = max(1, dataset.images.shape[1] // THUMBNAIL)
        side = dataset.images.shape[1] // step
        for row in locate_rows(rows["id"], dataset.index, what=f"{split_folder}/{name}"):
            pixels = np.asarray(dataset.images[row][: side * step, : side * step], np.float32)
            blocks = pixels.reshape(side, step, side, step, 3)
            thumbnails.append(blocks.mean(axis=(1, 3)).ravel())
    return np.array(thumbnails)
