"""Which classifiers recognise an image: with more donors, at one magnification, or none.

The models are fixed, so linear classifiers of the same features stand for them. They answer what a
look at the image cannot: would more donors have helped, does one magnification see what the other
does not, or does the image look like another class whatever is done? The model itself shows what it
has learnt of images like this one, and whether its views agree.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from tissue.error_analysis.suspects import fit_predict, out_of_fold_probabilities
from tissue.metrics.predictions import SMALLEST
from tissue.metrics.projection import Points

# By column: fitted on training alone; or cross-validated by donor over all splits, on all features
# or on those of one magnification.
WAYS = ("by_training", "by_more", "by_whole", "by_crops")
ALIKE = 5  # training images of the same class
OBSERVED = ("learnt", "dissent")


def recognise(
    points: Mapping[str, Points],
    images: pd.DataFrame,
    cross_validated: Points,
    *,
    classes: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """Return how clearly each classifier tells the true class of each image, columns `WAYS`.

    The values are log odds of the true class against the most probable other one: positive if the
    classifier is right.

    Args:
        points: projected features (N, K) of all images by part: `both`, and `whole` and `crops` if
            there are crops.
        images: their table, with label, group and split.
        cross_validated: probabilities (N, classes) from `both`.
        classes: all class names.
        seed: of the folds.
    """
    labels, number = images["label"].to_numpy(int), len(classes)
    known, both = (images["split"] == "train").to_numpy(), points["both"]
    found = {
        "by_training": fit_predict(both[known], labels[known], both, classes=number),
        "by_more": cross_validated,
    }
    for part in ("whole", "crops"):
        found[f"by_{part}"] = (
            out_of_fold_probabilities(
                points[part], labels, images["group"], classes=number, seed=seed
            )
            if part in points
            else cross_validated
        )
    return pd.DataFrame({way: log_odds(found[way], labels) for way in WAYS}, index=images.index)


def log_odds(probabilities: Points, labels: NDArray[np.int64]) -> Points:
    """Return the log odds (N,) of the true class against the most probable other one.

    `probabilities` are (N, classes), `labels` are (N,).
    """
    rows, others = np.arange(len(labels)), probabilities.copy()
    others[rows, labels] = 0
    own, best = probabilities[rows, labels], others.max(axis=1)
    return np.log(np.maximum(own, SMALLEST)) - np.log(np.maximum(best, SMALLEST))


def measure_recognition(images: pd.DataFrame) -> pd.DataFrame:
    """Return how strongly each of three causes applies; a cause with a value of 0 or less does not.

    - `few_donors`: training alone gets the image wrong, with the donors of the other splits it is
      right. Both by at least the value.
    - `one_scale`: right by one magnification, wrong by the other.
    - `looks_other`: wrong by every classifier.

    `images` has the columns `WAYS`. Each classifier is cross-validated or has not seen the image.
    """
    training, more, whole, crops = (images[way] for way in WAYS)
    scales = np.sort(np.stack([whole, crops]), axis=0)
    return pd.DataFrame(
        {
            "few_donors": np.minimum(more, -training),
            "one_scale": np.minimum(scales[1], -scales[0]),
            "looks_other": -np.maximum(np.maximum(training, more), scales[1]),
        },
        index=images.index,
    )


def observe(
    images: pd.DataFrame, points: Points, predictions: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the columns `OBSERVED` of the images that are not of training.

    - learnt: how clearly the model answers the five most alike training images of the true class:
      mean log odds of that class against the most probable other one;
    - dissent: see `views_dissent`.

    Args:
        images: of all splits, with label, group and split.
        points: their projected features (N, K).
        predictions: of all splits, as from `prediction_tables`.
        classes: all class names.
    """
    answers = predictions.set_index("id").loc[images["id"]].set_index(images.index)
    known = (images["split"] == "train").to_numpy()
    probabilities = answers[[f"p_{name}" for name in classes]].to_numpy(np.float64)
    labels = images["label"].to_numpy(int)
    odds = log_odds(probabilities[known], labels[known])
    learnt = _mean_of_nearest(odds, points, labels, known)
    return pd.DataFrame({"learnt": learnt, "dissent": answers["dissent"]})[~known]


def _mean_of_nearest(
    odds: NDArray[np.float64], points: Points, labels: NDArray[np.int64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the means (N,) of the odds of training images over the nearest of the same class."""
    means = np.zeros(len(labels))
    for label in np.unique(labels):
        own = known & (labels == label)
        rows = np.flatnonzero(~known & (labels == label))
        if not own.any() or not len(rows):
            continue
        near = NearestNeighbors(n_neighbors=min(ALIKE, own.sum())).fit(points[own])
        found = near.kneighbors(points[rows], return_distance=False)
        means[rows] = odds[own[known]][found].mean(axis=1)
    return means


def measure_network(images: pd.DataFrame) -> pd.DataFrame:
    """Return how strongly each of two causes applies; a cause with a value of 0 or less does not.

    - `not_learnt`: the model is wrong, on average, on the training images most like it.
    - `views_disagree`: turned or mirrored, the picture gets another class.

    `images` has the columns `OBSERVED`.
    """
    return pd.DataFrame({"not_learnt": -images["learnt"], "views_disagree": images["dissent"]})
