"""Do training and test overlap? Three statistics, compared with those of random splits.

Each misses something: how mixed the nearest neighbours are, how well a classifier separates
training from test, and how far apart their means and covariances lie.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors

from tissue.metrics.intervals import SIGNIFICANT

STATISTICS = ("mixing", "two_sample", "frechet")
FEWEST = 4  # donors of a class, in training and test together, to measure it alone
FOLDS = 5
PENALTY = 1.0  # of ridge regression, in units of the mean variance of the components


def measure_overlap(
    points: NDArray[np.float32],
    index: pd.DataFrame,
    *,
    neighbours: int,
    random_splits: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Measure by three statistics how far the test images are from the training images.

    - mixing: the share of training images among a test image's nearest neighbours, divided by
      their share among all images; 1 is fully mixed, 0 is separate.
    - two_sample: the area under the ROC curve of a classifier, see `two_sample_auc`.
    - frechet: the squared Frechet distance, see `frechet_distances`.

    Args:
        points: principal components float32 (N, K) of training and test images.
        index: row i describes point i: `split` (train or test), `class`, `group`.
        neighbours: how many of each test image.
        random_splits: how many to draw.
        seed: of the random splits.

    Returns:
        For each statistic: its value for the real split; mean, 2.5 % and 97.5 % quantile over
        random splits; and the one-sided permutation p-value of lying as far apart.
    """
    donors, _ = pd.factorize(index["group"], sort=True)
    is_test = (index["split"] == "test").to_numpy()
    splits = np.array([is_test, *_random_splits(index, count=random_splits, seed=seed)])
    near = NearestNeighbors(n_neighbors=min(neighbours, len(points) - 1)).fit(points)
    rows = near.kneighbors(return_distance=False)
    mixing = np.array([_mixing(rows, split) for split in splits])
    return {
        "mixing": _against_random(mixing, np.less_equal),
        "two_sample": _against_random(two_sample_auc(points, donors, splits)),
        "frechet": _against_random(frechet_distances(points, splits)),
    }


def measure_spaces(
    points: Mapping[str, NDArray[np.float32]], index: pd.DataFrame, **settings: int
) -> dict[str, Any]:
    """Return each statistic of `measure_overlap`, and their joint `p_value`, by space."""
    measured = {space: measure_overlap(at, index, **settings) for space, at in points.items()}
    return {
        "p_value": {space: joint_p_value(values) for space, values in measured.items()},
        **{name: {space: measured[space][name] for space in measured} for name in STATISTICS},
    }


def measure_classes(
    points: NDArray[np.float32], index: pd.DataFrame, **settings: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return `measure_overlap` of each class that has enough donors, some of them in each split."""
    measured = {}
    for name, rows in sorted(index.groupby("class").indices.items()):
        of_class = index.iloc[rows]
        donors = of_class.groupby("split")["group"].nunique()
        if len(donors) == 2 and donors.sum() >= FEWEST:
            # The principal components of this class alone, again by falling variance.
            centred = points[rows] - points[rows].mean(axis=0)
            rotated = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
            measured[str(name)] = measure_overlap(rotated, of_class, **settings)
    return measured


def joint_p_value(measured: dict[str, dict[str, float]]) -> float:
    """Return the p-value of all three statistics: the lowest times three (Bonferroni)."""
    return min(1.0, len(STATISTICS) * min(measured[name]["p_value"] for name in STATISTICS))


def overlap_direction(measured: dict[str, dict[str, float]]) -> str:
    """Return whether training and test lie `apart`, `closer` or the `same` as random splits do.

    Copies in both splits bring them `closer`. The direction is `unknown` if no class has donors in
    both splits: all random splits then equal the real one.
    """
    if all(one["random_low"] == one["real"] == one["random_high"] for one in measured.values()):
        return "unknown"
    if joint_p_value(measured) < SIGNIFICANT:
        return "apart"
    mixing = measured["mixing"]
    return "closer" if mixing["real"] > mixing["random_high"] else "same"


def _against_random(
    values: NDArray[np.float64], as_far: Callable[..., NDArray[np.bool_]] = np.greater_equal
) -> dict[str, float]:
    real, drawn = float(values[0]), values[1:]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "real": real,
        "random_mean": float(drawn.mean()),
        "random_low": float(low),
        "random_high": float(high),
        "p_value": float((1 + as_far(drawn, real).sum()) / (1 + len(drawn))),
    }


def _random_splits(index: pd.DataFrame, *, count: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Yield random splits (N,) that move whole donors, whose images lie close together.

    Each class keeps its number of test donors. A donor with images of several classes belongs to
    the class that most of its images have.
    """
    # A donor in both splits counts as two, or there might be none to move.
    donors = index.assign(test=index["split"] == "test").groupby(["group", "test"])
    codes = donors.ngroup().to_numpy()
    table = donors["class"].agg(lambda names: names.mode().iloc[0]).reset_index()
    of_classes = list(table.groupby("class").indices.values())
    rng = np.random.default_rng(seed)
    for _ in range(count):
        is_test = table["test"].to_numpy(copy=True)
        for rows in of_classes:
            is_test[rows] = rng.permutation(is_test[rows])
        yield is_test[codes]


def _mixing(near: NDArray[np.int64], is_test: NDArray[np.bool_]) -> float:
    chance = (~is_test).sum() / (len(is_test) - 1)
    return float((~is_test[near[is_test]]).mean() / chance)


def two_sample_auc(
    points: NDArray[np.floating], donors: NDArray[np.int64], splits: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how well a classifier separates training from test in each split, (R,).

    The classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545), scored by the
    area under the ROC curve, which does not depend on class sizes: 1 is a perfect separation, and
    random splits give 0.5 or slightly less. The classifier is ridge regression, cross-validated by
    donor, since a classifier that has seen a donor recognises the donor. All splits share one
    matrix per fold, so they take little longer than one.

    `points` are (N, K), `donors` their int numbers (N,), and `splits` (R, N) True for the test.
    """
    labels = np.where(splits, 1.0, -1.0).T
    labels -= labels.mean(axis=0)
    centred = np.asarray(points, np.float64) - points.mean(axis=0)
    penalty = PENALTY * len(points) * centred.var(axis=0).mean()
    scores = np.zeros_like(labels)
    folds = min(FOLDS, donors.max() + 1)
    if folds < 2:  # a single donor cannot be cross-validated: no better than chance
        return np.full(len(splits), 0.5)
    for train, held_out in GroupKFold(folds).split(centred, groups=donors):
        fitted = centred[train]
        square = fitted.T @ fitted + penalty * np.eye(fitted.shape[1])
        scores[held_out] = centred[held_out] @ np.linalg.solve(square, fitted.T @ labels[train])
    return _area(scores, splits.T)


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the area under the ROC curve of each column, from the Mann-Whitney rank sum."""
    ranks = rankdata(scores, axis=0)
    count = positive.sum(axis=0)
    sums = (ranks * positive).sum(axis=0) - count * (count + 1) / 2
    return sums / (count * (len(scores) - count))


def frechet_distances(
    points: NDArray[np.floating], splits: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the squared Frechet distance of training and test in each split, (R,).

    The distance of two normal distributions with their means and covariances (Heusel et al. 2017,
    arXiv 1706.08500). Covariances of more dimensions than images would be mostly noise, so only
    the first principal components count, a third as many as the smaller split has images. Small
    splits have a distance above 0 even without a shift, so compare it only with that of other
    splits of the same sizes.

    `points` are principal components (N, K) by falling variance, `splits` (R, N) True for the test.
    """
    smallest = int(min(splits.sum(axis=1).min(), (~splits).sum(axis=1).min()))
    kept = np.asarray(points[:, : max(1, smallest // 3)], np.float64)
    return np.array([_frechet(kept[~is_test], kept[is_test]) for is_test in splits])


def _frechet(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    first, second = _covariance(one), _covariance(two)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    means = one.mean(axis=0) - two.mean(axis=0)
    shared = 2 * np.sqrt(np.maximum(product, 0)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - shared)


def _covariance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = points - points.mean(axis=0)
    return centred.T @ centred / max(len(points) - 1, 1)
