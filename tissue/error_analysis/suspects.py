"""Labels that the rest of the data contradicts: confident learning.

Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, by the cleanlab library.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from numpy.typing import ArrayLike, NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import normalize

from tissue.error_analysis.table import SUSPECT_COLUMNS
from tissue.metrics.projection import Points

FOLDS = 5
REPEATS = 3  # of the cross-validation; the mean over them ranks images more steadily
MISFIT = 0.5  # a label that its image fits less well is suspect


def out_of_fold_probabilities(
    points: Points, labels: ArrayLike, donors: ArrayLike, *, classes: int, seed: int
) -> Points:
    """Return probabilities (N, classes), each from models that saw no image of the same donor.

    The images of all splits are cross-validated together: this judges labels, not models, and more
    images judge better. The model is the mean of logistic regression and linear discriminant
    analysis, which ranks planted wrong labels better than either.

    Args:
        points: projected features (N, K).
        labels: class numbers (N,).
        donors: (N,).
        classes: number of classes.
        seed: of the folds.
    """
    y, groups = np.asarray(labels, int), np.asarray(donors, str)
    folds = min(FOLDS, len(np.unique(groups)), np.bincount(y).max())
    probabilities = np.zeros((len(y), classes))
    for repeat in range(REPEATS):
        division = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for train, held_out in division.split(points, y, groups):
            probabilities[held_out] += fit_predict(
                points[train], y[train], points[held_out], classes=classes
            )
    return probabilities / REPEATS


def fit_predict(x: Points, y: NDArray[np.int64], others: Points, *, classes: int) -> Points:
    """Return the probabilities (M, classes) of other points (M, K), from points (N, K) of labels.

    They are the mean of logistic regression and linear discriminant analysis.
    """
    total = np.zeros((len(others), classes))
    if len(present := np.unique(y)) == 1:
        total[:, present] = 1.0  # neither model can be fitted to one class
        return total
    for model in (
        LogisticRegression(C=0.01, tol=1e-3, max_iter=300),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    ):
        model.fit(x, y)
        # The model has no column for a class without images in the fold.
        total[:, model.classes_] += model.predict_proba(others) / 2
    return total


def label_fit(probabilities: Points, labels: NDArray[np.int64]) -> Points:
    """Return how well each image fits its label, (N,): 0 not at all, 1 like the average image.

    The Bhattacharyya coefficient (the cosine of the roots of probabilities) of an image and of the
    mean over all images with its label. Unlike the probability of the label alone, it does not rank
    images of overlapping classes first: a colon mistaken for a small intestine is a common error, a
    colon mistaken for a lung is not. `probabilities` (N, classes) are cross-validated.
    """
    rooted = np.sqrt(probabilities)
    given = np.eye(probabilities.shape[1])[labels]
    return np.sum(rooted * (given @ normalize(given.T @ rooted)), axis=1)


def suspect_labels(
    images: pd.DataFrame, probabilities: Points, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the images with a suspect label, most suspect first, with `SUSPECT_COLUMNS`.

    Confident learning counts them; those that fit their label well are dropped. `quality` is the
    fit, see `label_fit`; `suggested` is the most probable class. `probabilities` (N, classes) are
    cross-validated.
    """
    labels = images["label"].to_numpy(int)
    found = np.zeros(len(labels), bool)
    if len(np.unique(labels)) > 1:
        found = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    quality = label_fit(probabilities, labels)
    suggested = np.asarray(classes)[probabilities.argmax(axis=1)]
    table = images.assign(quality=quality, suggested=suggested)
    # Confident learning also finds images of overlapping classes, which fit their label.
    suspects = table[found & (quality < MISFIT)]
    # The id breaks ties, so the order does not depend on the sort.
    return suspects.sort_values(["quality", "id"], ignore_index=True)[list(SUSPECT_COLUMNS)]
