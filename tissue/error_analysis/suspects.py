"""Labels that the rest of the data contradicts: confident learning.

Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, by the cleanlab library.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from numpy.typing import ArrayLike, NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import normalize

from tissue.error_analysis.table import SUSPECT_COLUMNS

FOLDS = 5
DIVISIONS = 3  # into folds; the mean over them ranks more steadily than one
MISFIT = 0.5  # a label that its image fits less well is suspect
Points = NDArray[np.float64]


def out_of_sample(
    points: Points, tables: dict[str, pd.DataFrame], *, classes: int, seed: int
) -> dict[str, Points]:
    """Return class probabilities (N, classes) by part, none from a model that saw the donor.

    Cross-validated over all parts: this judges labels, not models, and more images judge better.
    The model is the mean of logistic regression and linear discriminant analysis on the projected
    features; the two err differently, and their mean ranks planted wrong labels better than either.

    Args:
        points: projected features (N, K) of all parts, one below the other.
        tables: by part, `label` and `group` of the same images.
        classes: number of classes.
        seed: of the folds.
    """
    y = np.concatenate([table["label"].to_numpy(int) for table in tables.values()])
    donors = np.concatenate([table["group"].to_numpy(str) for table in tables.values()])
    crossed = cross_validated(points, y, donors, classes=classes, seed=seed)
    cuts = np.cumsum([len(table) for table in tables.values()])[:-1]
    return dict(zip(tables, np.split(crossed, cuts), strict=True))


def cross_validated(x: Points, y: ArrayLike, donors: ArrayLike, *, classes: int, seed: int) -> Any:
    """Return probabilities (N, classes), each from models that saw no image of the same donor."""
    y, donors = np.asarray(y), np.asarray(donors)
    folds = min(FOLDS, len(np.unique(donors)), np.bincount(y).max())
    probabilities = np.zeros((len(x), classes))
    for turn in range(DIVISIONS):
        division = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + turn)
        for seen, held in division.split(x, y, donors):
            probabilities[held] += _fit_predict(x[seen], y[seen], x[held], classes=classes)
    return probabilities / DIVISIONS


def _fit_predict(x: Points, y: NDArray[np.int64], others: Points, *, classes: int) -> Points:
    total = np.zeros((len(others), classes))
    if len(known := np.unique(y)) == 1:
        total[:, known] = 1.0  # neither model can be fitted to one class
        return total
    for model in (
        LogisticRegression(C=0.01, tol=1e-3, max_iter=300),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    ):
        model.fit(x, y)
        # A class of which the fold holds no image gets no column from the model.
        total[:, model.classes_] += model.predict_proba(others) / 2
    return total


def label_fit(probabilities: Points, labels: NDArray[np.int64]) -> Points:
    """Return how well each image fits its label, (N,): 0 not at all, 1 as its images do on average.

    The Bhattacharyya coefficient, a cosine of rooted probabilities, of an image and of the mean
    over all images of its label. The probability of the label alone would put images of classes
    that overlap first: a colon taken for a small intestine is usual, taken for a lung it is not.

    Args:
        probabilities: out-of-sample, (N, classes).
        labels: as given, (N,).
    """
    rooted = np.sqrt(probabilities)
    given = np.eye(probabilities.shape[1])[labels]
    return np.sum(rooted * (given @ normalize(given.T @ rooted)), axis=1)


def suspect_labels(
    tables: dict[str, pd.DataFrame], probabilities: dict[str, Points], classes: Sequence[str]
) -> pd.DataFrame:
    """Return the images whose label is suspect, most suspect first, as in `SUSPECT_COLUMNS`.

    `quality` is how well an image fits its label, see `label_fit`; `suggested` the most probable
    class. Suspect are as many as confident learning counts, if they fit badly, too.
    """
    every = pd.concat(
        [tables[part][["id", "class", "label"]].assign(split=part) for part in probabilities],
        ignore_index=True,
    )
    values = np.concatenate(list(probabilities.values()))
    labels = every["label"].to_numpy(int)
    every["quality"] = label_fit(values, labels)
    every["suggested"] = np.asarray(classes)[values.argmax(axis=1)]
    found = np.zeros(len(labels), bool)
    if len(np.unique(labels)) > 1:
        found = find_label_issues(labels, values, filter_by="low_self_confidence", n_jobs=1)
    # Classes that overlap look like wrong labels to it: only what fits badly is worth a look.
    found &= (every["quality"] < MISFIT).to_numpy()
    # Text breaks ties, so that the order does not depend on the sort.
    ranked = every[found].sort_values(["quality", "id"], ignore_index=True)
    return ranked[list(SUSPECT_COLUMNS)]
