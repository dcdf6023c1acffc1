"""Everything that answers a batch of pictures, loaded once and checked to belong together."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.runtime import set_up
from tissue.config.schema import Params
from tissue.data.features import NETWORK_FILE, RECORDED, mean_features
from tissue.data.index import PREPARATION_FILE, read_classes, read_index, stratified_sample
from tissue.error_analysis.space import FITTED
from tissue.prediction.answers import answer_row
from tissue.prediction.classifier import Classifier, load_classifier
from tissue.prediction.distance import TrainingDistance, fit_training_distance
from tissue.prediction.heat import check_has_maps, save_heat
from tissue.prediction.inputs import Picture
from tissue.training.inference import head_of
from tissue.training.saving import classes_of


@dataclass(frozen=True)
class Predictor:
    """A model, its classes, the training images, and the folder of heat maps, if any."""

    classifier: Classifier
    classes: list[str]
    distance: TrainingDistance
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
        images = np.stack([picture.image for picture in pictures])
        crops = np.stack([picture.crops for picture in pictures])
        batch = self.classifier.classify(images, crops if crops.size else None)
        distances = self.distance(batch.features.mean(axis=1)).tolist()
        rows = [
            answer_row(picture, probabilities, self.classes, distance=distance)
            for picture, probabilities, distance in zip(
                pictures, batch.probabilities, distances, strict=True
            )
        ]
        answered = [i for i, row in enumerate(rows) if not row["refused"]]
        if self.gradcam and answered:
            ids = [pictures[i].id for i in answered]
            network, shown = self.classifier.network, batch.take(answered)
            save_heat(network, shown, ids=ids, classes=self.classes, folder=self.gradcam)
        return rows


def load_predictor(params: Params, *, model: str, gradcam: Path | None, data: Path) -> Predictor:
    """Load a model, `scratch` or `pretrained`, and what is known of the training images.

    Raises:
        InputError: if the model or the cached features were made with other parameters.
    """
    pretrained = params.pretrained.model_dump(mode="json", include=set(RECORDED))
    _check_recorded(pretrained, data / "embed" / NETWORK_FILE, section="pretrained.")
    images = {"image_size": params.image_size, "split.crops": params.split.crops.model_dump()}
    _check_recorded(images, data / "split" / PREPARATION_FILE)
    set_up(seed=params.seed, threads=params.threads)
    classifier = load_classifier(model, params, data / "models")
    classes = read_classes(data / "split")
    _check_classes(data / f"models/{model}.keras", classes)
    index = read_index(data / "split/train.csv")
    features = mean_features(index, "train", data / "embed")
    _check_features(features, classifier, data / "embed/train.npy")
    if gradcam:
        check_has_maps(classifier.network)
    rows = stratified_sample(index, ["class"], most=FITTED, seed=params.seed)
    groups = index["group"].iloc[rows].reset_index(drop=True)
    distance = fit_training_distance(features[rows], groups, seed=params.seed)
    return Predictor(classifier, classes, distance, gradcam)


def _check_recorded(expected: dict[str, Any], path: Path, *, section: str = "") -> None:
    recorded = json.loads(path.read_text())
    for name, value in expected.items():
        if recorded[name] != value:
            raise InputError(
                f"{path.parent}: expected files made with the params.yaml that is here. Received: "
                f"{section}{name} was {recorded[name]}, and is {value} now. Restore the "
                "params.yaml, or run `dvc repro`."
            )


def _check_classes(path: Path, classes: list[str]) -> None:
    if (trained := classes_of(path)) != classes:
        other = sorted(set(trained) ^ set(classes))
        raise InputError(
            f"{path}: expected a model of the classes in data/split/classes.json. Received: one of "
            f"{len(trained)} classes and not of {len(classes)} here; {', '.join(other[:3])} are "
            "not in both. Run `dvc repro`, or `dvc checkout` what belongs to this commit."
        )


def _check_features(features: NDArray[np.float32], classifier: Classifier, path: Path) -> None:
    """Check that the training features (N, D) are those of the embedder and of the head."""
    crops = classifier.params.split.crops.count > 0
    width = classifier.embedder.output_shape[-1] * (2 if crops else 1)
    if features.shape[1] != width:
        raise InputError(
            f"{path}: expected {width} features per image, as the backbone and split.crops in "
            f"params.yaml give. Received: {features.shape[1]}. Run `dvc repro embed`, or `dvc "
            "pull` for what others have made."
        )
    if classifier.network.name == "scratch":
        return
    # A head keeps the mean of the features that it was trained on.
    layer = head_of(classifier.network).get_layer("standardise")
    mean, spread = (np.asarray(x).ravel() for x in (layer.mean, np.sqrt(layer.variance)))
    tolerance = 0.01 * float(spread.mean()) + 1e-6
    if len(mean) != width or not np.allclose(features.mean(axis=0), mean, rtol=0, atol=tolerance):
        raise InputError(
            f"{path}: expected the features that the model was trained on. Received: others. "
            "Run `dvc repro`, or `dvc checkout` what belongs to this commit."
        )
