"""Do training and test overlap? Measured, next to the same figures for random splits.

Three figures, since each misses something: how mixed the nearest neighbours are, how well a
classifier tells training from test, and how far apart their means and covariances lie.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors

from tissue.metrics.intervals import SIGNIFICANT

FIGURES = ("mixing", "two_sample", "frechet")
FEWEST = 4  # donors a class, of training and test together, for figures of its own


def overlap(
    points: NDArray[np.float32],
    index: pd.DataFrame,
    *,
    neighbours: int,
    random_splits: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Measure how far the test images are from training images, by three figures.

    - mixing: the share of training images among a test image's nearest neighbours, over their
      share among all images; 1 is as mixed as can be, 0 is two sets that lie apart.
    - two_sample: how well a classifier tells test from training; 1 is always, random splits
      give 0.5 or somewhat less.
    - frechet: the Frechet distance of the two, in the units of the points, squared.

    Random splits move whole donors, since images of one donor lie close together in any case, and
    keep the number of test donors of each class; a donor with images of several counts for the one
    that it has most images of.

    Args:
        points: principal components float32 (N, K) of training and test images.
        index: row i describes point i: `split` (train or test), `class`, `group`.
        neighbours: how many of each test image.
        random_splits: how many to draw.
        seed: of the random splits.

    Returns:
        For each figure: that of the real split; mean, 2.5 % and 97.5 % quantile of that of random
        ones; and the one-sided permutation p-value of a split as far apart as the real one.
    """
    donors, _ = pd.factorize(index["group"], sort=True)
    is_test = (index["split"] == "test").to_numpy()
    # A donor on both sides counts as two, or there might be nobody to move.
    codes, _ = pd.factorize(2 * donors + is_test, sort=True)
    each = pd.DataFrame({"class": index["class"], "test": is_test}).groupby(codes)
    groups = each.agg({"class": lambda names: names.mode().iloc[0], "test": "first"})
    rng = np.random.default_rng(seed)
    drawn = [_shuffled(groups, rng)[codes] for _ in range(random_splits)]
    divisions = np.array([is_test, *drawn])
    near = NearestNeighbors(n_neighbors=min(neighbours, len(points) - 1)).fit(points)
    rows = near.kneighbors(return_distance=False)
    mixing = np.array([_mixing(rows, division) for division in divisions])
    return {
        "mixing": _beside_random(mixing, apart_is_low=True),
        "two_sample": _beside_random(two_sample_auc(points, donors, divisions)),
        "frechet": _beside_random(frechet_distances(points, divisions)),
    }


def measure_overlap(
    points: NDArray[np.float32], index: pd.DataFrame, **settings: int
) -> dict[str, Any]:
    """Return the figures of `overlap` and, as `p_value`, that of all of them together."""
    figures = overlap(points, index, **settings)
    return {**figures, "p_value": joint_p_value(figures)}


def overlap_of_classes(
    points: NDArray[np.float32], index: pd.DataFrame, **settings: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return `overlap` of each class alone, where it has enough donors on both sides."""
    measured = {}
    for name, rows in sorted(index.groupby("class").indices.items()):
        of_class = index.iloc[rows]
        donors = of_class.groupby("split")["group"].nunique()
        if len(donors) == 2 and donors.sum() >= FEWEST:
            # Again in falling order of variance, now of this class.
            centred = points[rows] - points[rows].mean(axis=0)
            turned = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
            measured[str(name)] = overlap(turned, of_class, **settings)
    return measured


def joint_p_value(measured: dict[str, dict[str, float]]) -> float:
    """Return the p-value of all three figures together: the lowest, times three (Bonferroni)."""
    return min(1.0, len(FIGURES) * min(measured[name]["p_value"] for name in FIGURES))


def overlap_direction(measured: dict[str, dict[str, float]]) -> str:
    """Return how the test set lies to training: `apart`, `closer` or `same` as random splits.

    `closer` is what copies on both sides do. `unknown` is where each class has only donors of
    training or only donors of the test: all random splits are then the real one.
    """
    if all(one["random_low"] == one["real"] == one["random_high"] for one in measured.values()):
        return "unknown"
    if joint_p_value(measured) < SIGNIFICANT:
        return "apart"
    mixing = measured["mixing"]
    return "closer" if mixing["real"] > mixing["random_high"] else "same"


def _beside_random(values: NDArray[np.float64], *, apart_is_low: bool = False) -> dict[str, float]:
    real, drawn = float(values[0]), values[1:]
    low, high = np.quantile(drawn, [0.025, 0.975])
    as_far = (drawn <= real) if apart_is_low else (drawn >= real)
    return {
        "real": real,
        "random_mean": float(drawn.mean()),
        "random_low": float(low),
        "random_high": float(high),
        "p_value": float((1 + as_far.sum()) / (1 + len(drawn))),
    }


def _shuffled(groups: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.bool_]:
    shuffled = groups["test"].to_numpy().copy()
    for rows in groups.groupby("class").indices.values():
        shuffled[rows] = rng.permutation(shuffled[rows])
    return shuffled


def _mixing(near: NDArray[np.int64], is_test: NDArray[np.bool_]) -> float:
    chance = (~is_test).sum() / (len(is_test) - 1)
    return float((~is_test[near[is_test]]).mean() / chance)


FOLDS = 5
PENALTY = 1.0  # of the ridge, in units of the mean variance of the components


def two_sample_auc(
    points: NDArray[np.floating], groups: NDArray[np.int64], divisions: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how well a classifier tells the two samples of each division apart, (R,).

    The classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545), scored by the
    area under the ROC curve, which does not depend on the sizes of the samples: 1 is always, and
    random divisions that keep the classes' shares give 0.5 or somewhat less. The classifier is
    ridge regression on the labels, cross-validated by donor: one that has seen a donor would tell
    the donor and not the sample. Its weights do not depend on the labels, so all divisions cost
    hardly more than one.

    Args:
        points: (N, K).
        groups: the donor of each point, int (N,).
        divisions: (R, N), True for the points of the second sample.
    """
    labels = np.where(divisions, 1.0, -1.0).T
    labels -= labels.mean(axis=0)
    centred = np.asarray(points, np.float64) - points.mean(axis=0)
    penalty = PENALTY * len(points) * centred.var(axis=0).mean()
    scores = np.zeros_like(labels)
    folds = min(FOLDS, groups.max() + 1)
    if folds < 2:  # what is learnt of one donor cannot be tried on another: no better than chance
        return np.full(len(divisions), 0.5)
    for seen, held in GroupKFold(folds).split(centred, groups=groups):
        known = centred[seen]
        square = known.T @ known + penalty * np.eye(known.shape[1])
        scores[held] = centred[held] @ np.linalg.solve(square, known.T @ labels[seen])
    return _area(scores, divisions.T)


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Area under the ROC curve of each column, from the rank sum of Mann and Whitney."""
    ranks = rankdata(scores, axis=0)
    many = positive.sum(axis=0)
    sums = (ranks * positive).sum(axis=0) - many * (many + 1) / 2
    return sums / (many * (len(scores) - many))


def frechet_distances(
    points: NDArray[np.floating], divisions: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the Frechet distance of the two samples of each division, (R,).

    That of two normal distributions with the samples' means and covariances (Heusel et al. 2017,
    arXiv 1706.08500). Covariances of more dimensions than images would be mostly noise, so only
    the first principal components count, a third as many as the smaller sample has images. Small
    samples make it larger than 0 in any case: only the same figure of other divisions of the same
    sizes says what is much.

    Args:
        points: principal components (N, K), in falling order of variance.
        divisions: (R, N), True for the points of the second sample.
    """
    smallest = int(min(divisions.sum(axis=1).min(), (~divisions).sum(axis=1).min()))
    kept = np.asarray(points[:, : max(1, smallest // 3)], np.float64)
    return np.array([_frechet(kept[~second], kept[second]) for second in divisions])


def _frechet(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    first, second = _covariance(one), _covariance(two)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    means = one.mean(axis=0) - two.mean(axis=0)
    overlap = 2 * np.sqrt(np.maximum(product, 0)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - overlap)


def _covariance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = points - points.mean(axis=0)
    return centred.T @ centred / max(len(points) - 1, 1)
