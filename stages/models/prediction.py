"""Class probabilities of images, averaged over their dihedral views."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.dataset.index import Part, read_array, read_index, rows_of
from stages.images.views import dihedral

BATCH = 32


def predict_images(
    model: keras.Model, images: NDArray[np.uint8], *, views: int, name: str
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, classes) of images uint8 (N, S, S, 3), mean of the views."""
    batches = []
    for start in tqdm(range(0, len(images), BATCH), desc=name, unit="batch", disable=None):
        batch = np.asarray(images[start : start + BATCH])
        turned = [model.predict_on_batch(dihedral(batch, view)) for view in range(views)]
        batches.append(np.mean(turned, axis=0))
    return np.concatenate(batches)


def predict_features(head: keras.Model, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities float32 (N, classes) of features (N, views, D), mean of the views."""
    batches = []
    for start in range(0, len(features), BATCH):
        batch = np.asarray(features[start : start + BATCH])
        each = head.predict_on_batch(batch.reshape(-1, batch.shape[-1]))
        batches.append(each.reshape(*batch.shape[:2], -1).mean(axis=1))
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
    """Return the probabilities of each part from its images."""
    return {
        name: predict_images(model, part.images, views=views, name=f"{model.name} {name}")
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
        return predict_parts(model, parts, views=cached["train"].shape[1])
    head = head_of(model)
    probabilities = {}
    for name, part in parts.items():
        index = read_index(embed / f"{name}.csv")
        rows = rows_of(part.index["id"], index, what=f"{embed}/{name}")
        probabilities[name] = predict_features(head, cached[name][rows])
    return probabilities
