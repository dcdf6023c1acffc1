"""Everything that answers a batch of pictures, loaded once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tissue.backbones.embedding import embed_batch
from tissue.backbones.loading import Embedder
from tissue.common.runtime import set_up
from tissue.config.schema import Params
from tissue.data.index import read_classes
from tissue.error_analysis.gradcam import Views
from tissue.prediction.answers import answer_row
from tissue.prediction.heat import check_has_maps, save_heat
from tissue.prediction.inputs import Picture, stack_pictures
from tissue.prediction.loading import check_classes, check_recorded, check_width, load_networks
from tissue.training.inference import head_of, is_fine_tuned, predict_batch, predict_features
from tissue.training.novelty import Novelty, read_novelty


@dataclass(frozen=True)
class Predictor:
    """A model, the frozen backbone, the distance from training, the folder of heat maps, if any."""

    params: Params
    network: keras.Model
    embedder: Embedder
    classes: list[str]
    novelty: Novelty
    gradcam: Path | None

    def answer(self, pictures: list[Picture]) -> list[dict[str, Any]]:
        """Return one row per picture, in their order, and draw the heat of those answered."""
        readable = [picture for picture in pictures if not picture.problem]
        rows = iter(self._answer_readable(readable) if readable else [])
        return [
            {"id": picture.id, "refused": f"cannot be read: {picture.problem}"}
            if picture.problem
            else next(rows)
            for picture in pictures
        ]

    def _answer_readable(self, pictures: list[Picture]) -> list[dict[str, Any]]:
        probabilities, features = self._classify(pictures)
        distances = self.novelty(features.mean(axis=1)).tolist()
        rows = [
            answer_row(picture, shares, self.classes, distance=distance)
            for picture, shares, distance in zip(pictures, probabilities, distances, strict=True)
        ]
        answered = [i for i, row in enumerate(rows) if not row["refused"]]
        if self.gradcam and answered:
            save_heat(
                self.network, [pictures[i] for i in answered], probabilities[answered],
                views=Views(self._views, self.params.split.crops.zoom),
                classes=self.classes, folder=self.gradcam,
            )  # fmt: skip
        return rows

    @property
    def _views(self) -> int:
        params = self.params
        return (params.scratch if self.network.name == "scratch" else params.pretrained).views

    def _classify(self, pictures: list[Picture]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (N, classes) as `evaluate` does, and features (N, views, D)."""
        images, crops = stack_pictures(pictures)
        features = embed_batch(self.embedder, images, crops, views=self.params.pretrained.views)
        if self.network.name == "scratch" or is_fine_tuned(self.network):
            each = predict_batch(self.network, images, crops, views=self._views)
        else:
            each = predict_features(head_of(self.network), features)
        return each.mean(axis=1), features


def load_predictor(params: Params, *, model: str, gradcam: Path | None, data: Path) -> Predictor:
    """Load a model, `scratch` or `pretrained`, and the distance from training.

    Both use the distance in the file of the pretrained model, of features of the frozen backbone.

    Raises:
        InputError: if the models were made with other parameters.
    """
    check_recorded(params, data)
    set_up(seed=params.seed, threads=params.threads)
    network, embedder = load_networks(model, params, data / "models")
    classes = read_classes(data / "split")
    check_classes(data / f"models/{model}.keras", classes)
    novelty = read_novelty(data / "models/pretrained.keras")
    width = embedder.output_shape[-1] * (2 if params.split.crops.count else 1)
    check_width(novelty, width, data / "models/pretrained.keras")
    if gradcam:
        check_has_maps(network)
    return Predictor(params, network, embedder, classes, novelty, gradcam)
