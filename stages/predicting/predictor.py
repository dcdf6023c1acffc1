"""All that answers a batch of pictures, loaded once: model, classes and training images."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.cli.running import InputError
from stages.dataset.features import MADE_BY, RECORDED, mean_features
from stages.dataset.index import MADE_WITH, read_classes, read_index
from stages.dataset.sampling import share_of_each
from stages.errors.space import FITTED
from stages.models.runtime import set_up
from stages.models.saving import classes_of
from stages.params.schema import Params
from stages.predicting.answers import answer, reason_to_refuse
from stages.predicting.classifier import Classifier, check_embedded, load_classifier
from stages.predicting.heat import check_has_maps, save_heat
from stages.predicting.inputs import Picture
from stages.predicting.novelty import Training, learn


@dataclass(frozen=True)
class Predictor:
    """A model, its classes, the training images, and where heat maps go, if anywhere."""

    classifier: Classifier
    classes: list[str]
    training: Training
    gradcam: Path | None

    def answer(self, batch: list[Picture]) -> list[dict[str, Any]]:
        """Return a row for each picture, in their order, and draw the heat of those answered."""
        readable = [picture for picture in batch if not picture.problem]
        rows = iter(self._answer_readable(readable) if readable else [])
        return [
            {"id": picture.id, "refused": f"cannot be read: {picture.problem}"}
            if picture.problem
            else next(rows)
            for picture in batch
        ]

    def _answer_readable(self, pictures: list[Picture]) -> list[dict[str, Any]]:
        images = np.stack([picture.image for picture in pictures])
        crops = np.stack([picture.crops for picture in pictures])
        probabilities, features = self.classifier.classify(images, crops if crops.size else None)
        distances = self.training.distances(features.mean(axis=1))
        rows = [
            answer(
                picture.id,
                shares,
                self.classes,
                distance=float(distance),
                refused=reason_to_refuse(picture.tissue, float(distance)),
            )
            for picture, shares, distance in zip(pictures, probabilities, distances, strict=True)
        ]
        told = [i for i, row in enumerate(rows) if not row["refused"]]
        if self.gradcam and told:
            save_heat(
                self.classifier, images[told], crops[told] if crops.size else None,
                features[told], probabilities[told],
                ids=[pictures[i].id for i in told], classes=self.classes, folder=self.gradcam,
            )  # fmt: skip
        return rows


def load_predictor(params: Params, *, model: str, gradcam: Path | None, data: Path) -> Predictor:
    """Load a model and what is known of the training images.

    Args:
        params: those the model was trained with.
        model: scratch or pretrained.
        gradcam: folder for heat maps, or None.
        data: the folder with models, embed and split.

    Raises:
        InputError: if the model or the cached features are not of these parameters.
    """
    pretrained = params.pretrained.model_dump(mode="json", include=set(RECORDED))
    _check_same(pretrained, data / "embed" / MADE_BY, section="pretrained.")
    images = {"image_size": params.image_size, "split.crops": params.split.crops.model_dump()}
    _check_same(images, data / "split" / MADE_WITH)
    set_up(seed=params.seed, threads=params.threads)
    classifier = load_classifier(model, params, data / "models")
    classes = read_classes(data / "split")
    _check_classes(data / f"models/{model}.keras", classes)
    index = read_index(data / "split/train.csv")
    known = mean_features(index, "train", data / "embed")
    if known.shape[1] != (width := classifier.features):
        raise InputError(
            f"{data / 'embed/train.npy'}: expected {width} features an image, as the backbone and "
            f"split.crops in params.yaml make. Received: {known.shape[1]}. Run `dvc repro "
            "embed`, or `dvc pull` for what others have made."
        )
    if model == "pretrained":
        check_embedded(classifier.network, known, data / "embed/train.npy")
    if gradcam:
        check_has_maps(classifier.network)
    rows = share_of_each(index, ["class"], most=FITTED, seed=params.seed)
    groups = index["group"].iloc[rows].reset_index(drop=True)
    training = learn(known[rows], groups, seed=params.seed)
    return Predictor(classifier, classes, training, gradcam)


def _check_classes(path: Path, classes: list[str]) -> None:
    if (trained := classes_of(path)) != classes:
        other = sorted(set(trained) ^ set(classes))
        raise InputError(
            f"{path}: expected a model of the classes in data/split/classes.json. Received: one of "
            f"{len(trained)} classes and not of {len(classes)} here; {', '.join(other[:3])} are "
            "not in both. Run `dvc repro`, or `dvc checkout` what belongs to this commit."
        )


def _check_same(asked: dict[str, Any], path: Path, *, section: str = "") -> None:
    made = json.loads(path.read_text())
    other = [name for name in asked if made[name] != asked[name]]
    if other:
        raise InputError(
            f"{path.parent}: expected what is made with the params.yaml that is here. Received: "
            f"{section}{other[0]} was {made[other[0]]}, and is {asked[other[0]]} now. Restore "
            "the params.yaml, or run `dvc repro`."
        )
