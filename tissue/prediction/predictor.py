"""All that answers a batch of pictures, loaded once: model, classes and training images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.runtime import set_up
from tissue.config.schema import Params
from tissue.data.features import NETWORK_FILE, RECORDED, mean_features
from tissue.data.index import PREPARATION_FILE, read_classes, read_index, stratified_sample
from tissue.error_analysis.space import FITTED
from tissue.images.quality import BLANK
from tissue.prediction.classifier import Classifier, check_embedded, load_classifier
from tissue.prediction.distance import Training, fit_training_distance
from tissue.prediction.heat import check_has_maps, save_heat
from tissue.prediction.inputs import Picture
from tissue.training.saving import classes_of


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
            answer_row(
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
    _check_same(pretrained, data / "embed" / NETWORK_FILE, section="pretrained.")
    images = {"image_size": params.image_size, "split.crops": params.split.crops.model_dump()}
    _check_same(images, data / "split" / PREPARATION_FILE)
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
    rows = stratified_sample(index, ["class"], most=FITTED, seed=params.seed)
    groups = index["group"].iloc[rows].reset_index(drop=True)
    training = fit_training_distance(known[rows], groups, seed=params.seed)
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


RANKS = ("predicted", "second", "third")
CONFIDENCES = ("confidence", "second_confidence", "third_confidence")
COLUMNS = [
    "id",
    *(name for pair in zip(RANKS, CONFIDENCES, strict=True) for name in pair),
    "distance",
    "refused",
]


def reason_to_refuse(tissue: float, distance: float) -> str:
    """Return why a picture is not answered, or nothing.

    Args:
        tissue: share of its pixels that show tissue.
        distance: from the training images, in units of the limit.
    """
    if tissue < BLANK:
        return f"nearly no tissue: {tissue:.1%} of the picture, {BLANK:.0%} expected"
    if distance > 1:
        return f"unlike the training images: distance {distance:.2f}, at most 1 is usual"
    return ""


def answer_row(
    name: str,
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    *,
    distance: float,
    refused: str,
) -> dict[str, Any]:
    """Return the row of a picture: its most probable classes, unless it is refused."""
    row: dict[str, Any] = {"id": name, "distance": distance, "refused": refused}
    if not refused:
        order = np.argsort(-probabilities, kind="stable")[: len(RANKS)]
        for rank, confidence, label in zip(RANKS, CONFIDENCES, order, strict=False):
            row |= {rank: classes[label], confidence: float(probabilities[label])}
    return row


def answer_line(row: dict[str, Any]) -> str:
    """Return the row of a picture as a line to print."""
    if row["refused"]:
        return f"{row['id']}: refused: {row['refused']}"
    ranked = zip(RANKS, CONFIDENCES, strict=True)
    told = (f"{row[rank]} {row[share]:.1%}" for rank, share in ranked if rank in row)
    return f"{row['id']}: {', '.join(told)}"


def answers_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows as a table; what a refused picture lacks stays empty."""
    return pd.DataFrame(rows, columns=COLUMNS)
