"""Class probabilities of images, of each dihedral view or their mean."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tissue.backbones.embedding import embed_batch, predict_once
from tissue.data.features import read_features
from tissue.data.index import Dataset
from tissue.data.shards import RowSelection

BATCH = 32


def predict_views(
    model: keras.Model, dataset: Dataset, *, views: int, name: str
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, views, classes) of the images, and crops, of a dataset.

    Whole images are seen in so many dihedral views, crops are not turned. A progress bar shows
    `name`.
    """
    batches = iterate_batches(dataset, name)
    return np.concatenate([predict_batch(model, *batch, views=views) for batch in batches])


def iterate_batches(
    dataset: Dataset, name: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    """Yield images uint8 (n, S, S, 3) and their crops or None; a progress bar shows `name`."""
    for start in tqdm(range(0, len(dataset.images), BATCH), desc=name, unit="batch", disable=None):
        rows = slice(start, start + BATCH)
        crops = None if dataset.crops is None else np.asarray(dataset.crops[rows])
        yield np.asarray(dataset.images[rows]), crops


def predict_batch(
    model: keras.Model, images: NDArray[np.uint8], crops: NDArray[np.uint8] | None, *, views: int
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, views, classes) of images (N, S, S, 3) and their crops.

    A backbone sees each crop once, not once for every view of the whole image.
    """
    if all(layer.name != "backbone" for layer in model.layers):
        return embed_batch(model, images, None, views=views)
    features = embed_batch(model.get_layer("backbone"), images, crops, views=views)
    return predict_features(head_of(model), features)


def predict_features(
    head: keras.Model, features: NDArray[np.float32] | RowSelection
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, views, classes) of features (N, views, D)."""
    found = []
    for start in range(0, len(features), BATCH):
        batch = np.asarray(features[start : start + BATCH])
        probabilities = predict_once(head, batch.reshape(-1, batch.shape[-1]))
        found.append(probabilities.reshape(*batch.shape[:2], -1))
    return np.concatenate(found)


def head_of(model: keras.Model) -> keras.Model:
    """Return the head of a model, which is the model itself if the backbone is an ONNX file."""
    return model if model.name == "head" else model.get_layer("head")


def is_fine_tuned(model: keras.Model) -> bool:
    """Whether the backbone in a model was trained, so that cached features are not its own."""
    return model.name != "head" and bool(model.get_layer("backbone").trainable_weights)


def predict_splits(
    model: keras.Model, datasets: Mapping[str, Dataset], *, views: int
) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities (N, views, classes) of each split from its images."""
    return {
        name: predict_views(model, dataset, views=views, name=f"{model.name} {name}")
        for name, dataset in datasets.items()
    }


def predict_embedded_splits(
    model: keras.Model, datasets: Mapping[str, Dataset], embed: Path
) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities (N, views, classes) of each split from its cached features.

    A fine-tuned backbone has features of its own: then images are read, in as many views.
    """
    features = {
        name: read_features(dataset.index["id"], name, embed) for name, dataset in datasets.items()
    }
    if is_fine_tuned(model):
        return predict_splits(model, datasets, views=next(iter(features.values())).shape[1])
    return {name: predict_features(head_of(model), cached) for name, cached in features.items()}
