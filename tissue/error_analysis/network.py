"""What a network shows of an image beside its answer: what it learnt, and its views."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from tissue.error_analysis.recognition import log_odds
from tissue.metrics.projection import Points

ALIKE = 5  # training images of the same class
OBSERVED = ("learnt", "dissent")


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
