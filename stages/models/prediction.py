"""Class probabilities of images, averaged over their dihedral views."""

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

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


def is_fine_tuned(model: keras.Model) -> bool:
    """Whether the backbone inside a model was trained, so that cached features are not its own."""
    return bool(model.get_layer("backbone").trainable_weights)
