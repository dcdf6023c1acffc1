"""Class probabilities of images, of each dihedral view or their mean."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from stages.dataset.index import Part, read_array, read_index, rows_of
from stages.images.views import dihedral

BATCH = 32


def predict_views(
    model: keras.Model,
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None = None,
    *,
    views: int,
    name: str,
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, views, classes) of images uint8 (N, S, S, 3).

    Args:
        model: takes images, or images and crops.
        images: whole images; they are turned.
        crops: uint8 (N, C, S, S, 3), as they are; used where the model takes them.
        views: number of dihedral views.
        name: in front of the progress bar.
    """
    batches = []
    for start in tqdm(range(0, len(images), BATCH), desc=name, unit="batch", disable=None):
        rows = slice(start, start + BATCH)
        whole = np.asarray(images[rows])
        magnified = [np.asarray(crops[rows])] if crops is not None and _takes_crops(model) else []
        turned = [[dihedral(whole, view), *magnified] for view in range(views)]
        each = [model.predict_on_batch(x if magnified else x[0]) for x in turned]
        batches.append(np.stack(each, axis=1))
    return np.concatenate(batches)


def predict_features(head: keras.Model, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities float32 (N, views, classes) of features (N, views, D)."""
    batches = []
    for start in range(0, len(features), BATCH):
        batch = np.asarray(features[start : start + BATCH])
        each = head.predict_on_batch(batch.reshape(-1, batch.shape[-1]))
        batches.append(each.reshape(*batch.shape[:2], -1))
    return np.concatenate(batches)


def head_of(model: keras.Model) -> keras.Model:
    """Return the head of a model, which is the model itself where the backbone is an ONNX file."""
    return model if model.name == "head" else model.get_layer("head")


def is_fine_tuned(model: keras.Model) -> bool:
    """Whether the backbone inside a model was trained, so that cached features are not its own."""
    return model.name != "head" and bool(model.get_layer("backbone").trainable_weights)


def predict_parts(
    model: keras.Model, parts: Mapping[str, Part], *, views: int
) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities of each part from its images, mean of the views."""
    return {
        name: predict_views(
            model, part.images, part.crops, views=views, name=f"{model.name} {name}"
        ).mean(axis=1)
        for name, part in parts.items()
    }


def predict_embedded_parts(
    model: keras.Model, parts: Mapping[str, Part], embed: Path
) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities of each part from its cached features, where they are the model's.

    A fine-tuned backbone has features of its own: then its images are read, in as many views.
    """
    cached = {name: read_array(embed / f"{name}.npy") for name in parts}
    if is_fine_tuned(model):
        return predict_parts(model, parts, views=next(iter(cached.values())).shape[1])
    return {
        name: predict_features(head_of(model), read_features(embed, name, part.index["id"])).mean(
            axis=1
        )
        for name, part in parts.items()
    }


def read_features(embed: Path, name: str, ids: pd.Series) -> NDArray[np.float32]:
    """Return the cached features float32 (N, views, D) of a part, in the order of `ids`."""
    rows = rows_of(ids, read_index(embed / f"{name}.csv"), what=f"{embed}/{name}")
    return read_array(embed / f"{name}.npy")[rows]


def _takes_crops(model: keras.Model) -> bool:
    return len(model.inputs) > 1
