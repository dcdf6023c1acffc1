"""A trained model as `predict` uses it: from pictures to probabilities and to features."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tissue.backbones.embedding import embed_batch
from tissue.backbones.loading import Embedder, load_embedder
from tissue.common.errors import InputError
from tissue.config.schema import Params
from tissue.training.inference import head_of, is_fine_tuned, predict_batch, predict_features
from tissue.training.saving import load_model


@dataclass(frozen=True)
class Classifier:
    """A model of `data/models`, and the frozen backbone whose features `embed` cached."""

    network: keras.Model
    embedder: Embedder
    views: int  # of the model
    embedded_views: int
    has_crops: bool

    @property
    def features(self) -> int:
        """The number of features an image: of the whole, and as many of its crops."""
        return self.embedder.output_shape[-1] * (2 if self.has_crops else 1)

    def classify(
        self, images: NDArray[np.uint8], crops: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (N, classes), mean of the views, and features (N, views, D).

        The way `evaluate` and `embed` compute them.

        Args:
            images: uint8 (N, S, S, 3).
            crops: uint8 (N, C, S, S, 3), or None where `split` keeps none.
        """
        features = embed_batch(self.embedder, images, crops, views=self.embedded_views)
        if self.network.name == "scratch" or is_fine_tuned(self.network):
            each = predict_batch(self.network, images, crops, views=self.views)
        else:
            each = predict_features(head_of(self.network), features)
        return each.mean(axis=1), features


def load_classifier(name: str, params: Params, models: Path) -> Classifier:
    """Load `scratch` or `pretrained`.

    Raises:
        InputError: if a file is no model, or was trained with other parameters.
    """
    network = load_model(models / f"{name}.keras")
    _check_shapes(network, params, models / f"{name}.keras")
    embedded, has_crops = params.pretrained.views, params.split.crops.count > 0
    views = params.scratch.views if name == "scratch" else embedded
    if name == "pretrained" and network.name != "head" and not is_fine_tuned(network):
        return Classifier(network, network.get_layer("backbone"), views, embedded, has_crops)
    return Classifier(network, frozen_network(params), views, embedded, has_crops)


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


def check_embedded(network: keras.Model, features: NDArray[np.float32], path: Path) -> None:
    """Raise an `InputError` unless a head was trained on these features (N, D).

    It keeps their mean; so it shows when the cache is of another backbone or of other images.
    """
    layer = head_of(network).get_layer("standardise")
    mean, spread = (np.asarray(x).ravel() for x in (layer.mean, np.sqrt(layer.variance)))
    if mean.shape != features.shape[1:] or not np.allclose(
        features.mean(axis=0), mean, rtol=0, atol=0.01 * float(spread.mean()) + 1e-6
    ):
        raise InputError(
            f"{path}: expected the features that the model was trained on. Received: others. "
            "Run `dvc repro`, or `dvc checkout` what belongs to this commit."
        )
