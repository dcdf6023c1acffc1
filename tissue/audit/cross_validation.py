"""Cross-validation by image and by whole groups, of features and of shortcuts."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tissue.audit.examples import COLOUR, QUALITY, SHORTCUTS, SIZE, Examples
from tissue.metrics.intervals import mean_interval, share_interval

FOLDS = 5
COMPONENTS = 128  # more gain nothing and take longer
# Of L2 beside the mean loss. One for all comparisons; that of the head is chosen for its features.
PENALTY = 0.05
TREES = 50
HONEST, CARELESS, WHOLE, CHANCE = "honest", "careless", "whole_image", "chance"
# What is compared with the honest figure, on the same images.
COMPARED = (CARELESS, WHOLE, SHORTCUTS)
Division = list[tuple[NDArray[np.int64], NDArray[np.int64]]]  # rows to learn from, rows held out
Classifier = Callable[[NDArray[Any]], Any]


class Score(NamedTuple):
    """How often each image was classified correctly, (N,), and the accuracy of each fold, (F,)."""

    right: NDArray[np.float64]
    by_fold: NDArray[np.float64]


def head(features: NDArray[Any]) -> Pipeline:
    """Return the classifier of features (N, D), which is fitted anew in each fold.

    Softmax regression on standardised features, as the head that `train_pretrained` trains, on
    their principal components, so that a fit takes a tenth of a second.
    """
    components = min(COMPONENTS, *features.shape)
    return make_pipeline(
        StandardScaler(),
        PCA(components, svd_solver="randomized", random_state=0),
        LogisticRegression(C=0.5 / PENALTY / len(features), tol=1e-3, max_iter=300),
    )


def trees(_: NDArray[Any]) -> ExtraTreesClassifier:
    """Return the classifier of shortcuts, which finds what no linear classifier could use."""
    return ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=0)


def fold_count(groups: ArrayLike) -> int:
    """Return into how many folds groups are divided."""
    return min(FOLDS, len(np.unique(groups)))


def divisions(
    labels: NDArray[np.int64], groups: NDArray[np.int64], *, repeats: int, seed: int
) -> list[Division]:
    """Return divisions into up to five folds, stratified by class, that keep groups whole.

    With the number of each image as its group, they are those of a careless split.
    """
    folds = fold_count(groups)
    with warnings.catch_warnings():
        # Some classes may have fewer images than there are folds; they are in fewer, then.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [
            list(
                StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat).split(
                    labels, labels, groups
                )
            )
            for repeat in range(repeats)
        ]


def cross_validate(
    classifier: Classifier,
    values: NDArray[Any],
    labels: NDArray[np.int64],
    divided: list[Division],
) -> Score:
    """Return how often a classifier of values (N, K) is right about images it has not seen."""
    right = np.zeros(len(labels))
    by_fold = []
    for train, held_out in (fold for division in divided for fold in division):
        hits = is_right(classifier, values, labels, train, held_out)
        right[held_out] += hits / len(divided)
        by_fold.append(hits.mean())
    return Score(right, np.array(by_fold))


def is_right(
    classifier: Classifier,
    values: NDArray[Any],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Fit on some rows and return whether each of the others is classified correctly."""
    if len(names := np.unique(labels[train])) == 1:  # nothing to fit
        return labels[held_out] == names[0]
    fitted = classifier(values[train]).fit(values[train], labels[train])
    return fitted.predict(values[held_out]) == labels[held_out]


def score_all(examples: Examples, *, repeats: int, seed: int) -> dict[str, Score]:
    """Cross-validate features and shortcuts by group, and the features carelessly as well.

    Size is left out where all images have one.
    """
    labels, every_image = examples.labels, np.arange(len(examples.labels))
    by_group = divisions(labels, examples.groups, repeats=repeats, seed=seed)
    by_image = divisions(labels, every_image, repeats=repeats, seed=seed)
    scores = {
        HONEST: cross_validate(head, examples.features, labels, by_group),
        CARELESS: cross_validate(head, examples.features, labels, by_image),
    }
    if examples.whole.shape != examples.features.shape:
        scores[WHOLE] = cross_validate(head, examples.whole, labels, by_group)
    shortcuts = [QUALITY, COLOUR, SHORTCUTS]
    if np.ptp(examples.shortcuts[SIZE], axis=0).any():  # else there is nothing to learn from
        shortcuts.append(SIZE)
    for name in shortcuts:
        scores[name] = cross_validate(trees, examples.shortcuts[name], labels, by_group)
    return scores


def describe_scores(scores: dict[str, Score], groups: ArrayLike) -> dict[str, dict[str, Any]]:
    """Return for `metrics/audit.json` the accuracies, and the paired differences from `honest`.

    Intervals know the groups. `fold_sd` is the standard deviation over all folds.
    """
    accuracy, difference = {}, {}
    for name, score in scores.items():
        low, high = share_interval(score.right, groups)
        accuracy[name] = {
            "accuracy": float(score.right.mean()), "low": low, "high": high,
            "fold_sd": float(score.by_fold.std(ddof=1)),
        }  # fmt: skip
    for name in (name for name in COMPARED if name in scores):
        gap = scores[name].right - scores[HONEST].right
        low, high = mean_interval(gap, groups)
        difference[name] = {"value": float(gap.mean()), "low": low, "high": high}
    return {"accuracy": accuracy, "difference": difference}


def score_table(accuracy: dict[str, dict[str, float]], *, chance: float) -> pd.DataFrame:
    """Return name, accuracy, low and high of all that was cross-validated, worst first."""
    rows = [(CHANCE, chance, chance, chance)]
    rows += [
        (name, values["accuracy"], values["low"], values["high"])
        for name, values in accuracy.items()
    ]
    table = pd.DataFrame(rows, columns=["what", "accuracy", "low", "high"])
    return table.sort_values(["accuracy", "what"], ignore_index=True)
