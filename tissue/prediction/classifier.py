"""A trained model as `predict` uses it: from pictures to probabilities and to features."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from tissue.backbones.embedding import embed_batch
from tissue.backbones.loading import Embedder, load_embedder
from tissue.common.errors import InputError
from tissue.config.schema import Params
from tissue.training.inference import head_of, is_fine_tuned, predict_batch, predict_features
from tissue.training.saving import load_model


class Batch(NamedTuple):
    """Classified pictures.

    Attributes:
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), or None where `split` keeps none.
        features: float32 (N, views, D) of the frozen backbone, as cached by `embed`.
        probabilities: float32 (N, classes), mean of the views.
    """

    images: NDArray[np.uint8]
    crops: NDArray[np.uint8] | None
    features: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def take(self, rows: list[int]) -> "Batch":
        """Return some of the pictures."""
        images, crops, features, probabilities = self
        kept = None if crops is None else crops[rows]
        return Batch(images[rows], kept, features[rows], probabilities[rows])


@dataclass(frozen=True)
class Classifier:
    """A model of `data/models`, and the frozen backbone whose features `embed` cached."""

    network: keras.Model
    embedder: Embedder
    params: Params

    def classify(self, images: NDArray[np.uint8], crops: NDArray[np.uint8] | None) -> Batch:
        """Classify images and their crops as `evaluate` and `embed` do."""
        views = self.params.pretrained.views
        features = embed_batch(self.embedder, images, crops, views=views)
        if self.network.name == "scratch":
            views = self.params.scratch.views
        if self.network.name == "scratch" or is_fine_tuned(self.network):
            each = predict_batch(self.network, images, crops, views=views)
        else:
            each = predict_features(head_of(self.network), features)
        return Batch(images, crops, features, each.mean(axis=1))


def load_classifier(name: str, params: Params, models: Path) -> Classifier:
    """Load `scratch` or `pretrained` from the folder of models.

    Raises:
        InputError: if a file is no model, or was trained with other parameters.
    """
    path = models / f"{name}.keras"
    network = load_model(path)
    _check_shapes(network, params, path)
    if name == "pretrained" and network.name != "head" and not is_fine_tuned(network):
        return Classifier(network, network.get_layer("backbone"), params)
    return Classifier(network, frozen_network(params), params)


def frozen_network(params: Params) -> Embedder:
    """Load the network that `embed` runs."""
    return load_embedder(params.pretrained, image_size=params.image_size, threads=params.threads)


def _check_shapes(network: keras.Model, params: Params, path: Path) -> None:
    if network.name == "head":
        return  # takes features, which are compared with those of `embed`
    size, count = params.image_size, params.split.crops.count
    expected: list[tuple[int | None, ...]] = [(None, size, size, 3)]
    if network.name == "pretrained" and count:
        expected.append((None, count, size, size, 3))
    received = [tuple(tensor.shape) for tensor in network.inputs]
    if received != expected:
        raise InputError(
            f"{path}: expected a model that takes {expected}, after image_size and split.crops in "
            f"params.yaml. Received: one that takes {received}. Restore the params.yaml it was "
            "trained with, or run `dvc repro`."
        )
