"""Do training and test overlap? Three statistics, compared with those of random splits.

Each misses something: how mixed the nearest neighbours are, how well a classifier separates
training from test, and how far apart their means and covariances lie.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.metrics.intervals import SIGNIFICANT, holm

P_VALUES = ("p_value", "p_value_closer")  # of lying as far apart, and as close
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
        random splits; and the one-sided permutation p-values of lying as far apart, and as close.
    """
    donors, _ = pd.factorize(index["group"], sort=True)
    is_test = (index["split"] == "test").to_numpy()
    splits = np.array([is_test, *_random_splits(index, count=random_splits, seed=seed)])
    mixing = _mixing(points, splits, neighbours)
    distances = {
        "two_sample": two_sample_auc(points, donors, splits),
        "frechet": frechet_distances(points, splits),
    }
    return {
        "mixing": _against_random(mixing, -mixing),
        **{name: _against_random(values, values) for name, values in distances.items()},
    }


def measure_spaces(
    points: Mapping[str, NDArray[np.float32]], index: pd.DataFrame, **settings: int
) -> dict[str, Any]:
    """Return each statistic of `measure_overlap`, and their joint p-values, by space."""
    measured = {space: measure_overlap(at, index, **settings) for space, at in points.items()}
    return {
        **{
            key: {space: joint_p_value(values, key) for space, values in measured.items()}
            for key in P_VALUES
        },
        **{name: {space: measured[space][name] for space in measured} for name in STATISTICS},
    }


def measure_classes(
    points: NDArray[np.float32], index: pd.DataFrame, *, random_splits: int, **settings: int
) -> dict[str, dict[str, Any]]:
    """Return `measure_overlap` of each class that has enough donors, some of them in each split.

    With it come the joint `p_value` of each class and `p_value_all_classes`, corrected for their
    number by `holm`. More than `random_splits` are drawn where these could not reach 0.05.
    """
    measured: dict[str, dict[str, Any]] = {}
    donors = index.groupby(["class", "split"])["group"].nunique().unstack(fill_value=0)
    enough = (donors > 0).all(axis=1) & (donors.shape[1] == 2) & (donors.sum(axis=1) >= FEWEST)
    of_classes = {
        str(name): np.flatnonzero(index["class"] == name) for name in donors.index[enough]
    }
    needed = math.ceil(2 * len(STATISTICS) * len(of_classes) / SIGNIFICANT)
    for name, rows in of_classes.items():
        # The principal components of this class alone, again by falling variance.
        centred = points[rows] - points[rows].mean(axis=0)
        rotated = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
        measured[name] = measure_overlap(
            rotated, index.iloc[rows], random_splits=max(random_splits, needed), **settings
        )
        measured[name]["p_value"] = joint_p_value(measured[name])
    corrected = holm({name: values["p_value"] for name, values in measured.items()})
    for name, p_value in corrected.items():
        measured[name]["p_value_all_classes"] = p_value
    return measured


def joint_p_value(measured: Mapping[str, Mapping[str, float]], key: str = "p_value") -> float:
    """Return the p-value of all three statistics: the lowest times three (Bonferroni)."""
    return min(1.0, len(STATISTICS) * min(measured[name][key] for name in STATISTICS))


def overlap_direction(measured: dict[str, dict[str, float]]) -> str:
    """Return whether training and test lie `apart`, `closer` or the `same` as random splits do.

    Copies in both bring them `closer`. It is `unknown` if no class has donors in both splits: all
    random splits then equal the real one.
    """
    if all(one["random_low"] == one["real"] == one["random_high"] for one in measured.values()):
        return "unknown"
    if two_sided_p_value(measured) >= SIGNIFICANT:
        return "same"
    apart, closer = (joint_p_value(measured, key) for key in P_VALUES)
    return "apart" if apart <= closer else "closer"


def two_sided_p_value(measured: Mapping[str, Mapping[str, float]]) -> float:
    """Return the p-value of all three statistics in either direction: the lower one times two."""
    return min(1.0, 2 * min(joint_p_value(measured, key) for key in P_VALUES))


def _against_random(values: NDArray[np.float64], distances: NDArray[np.float64]) -> dict[str, Any]:
    """Compare the first value with the others, which count as far where `distances` are large."""
    real, drawn = float(values[0]), values[1:]
    far, near = distances[1:] >= distances[0], distances[1:] <= distances[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "real": real,
        "random_mean": float(drawn.mean()),
        "random_low": float(low),
        "random_high": float(high),
        "p_value": float((1 + far.sum()) / (1 + len(drawn))),
        "p_value_closer": float((1 + near.sum()) / (1 + len(drawn))),
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


def _mixing(
    points: NDArray[np.float32], splits: NDArray[np.bool_], neighbours: int
) -> NDArray[np.float64]:
    # Imported here, since the report needs only the names above, and this takes a second.
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(neighbours, len(points) - 1)).fit(points)
    rows = near.kneighbors(return_distance=False)
    shares = [(~is_test[rows[is_test]]).mean() for is_test in splits]
    return np.array(shares) / ((~splits).sum(axis=1) / (splits.shape[1] - 1))


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
    from sklearn.model_selection import GroupKFold

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
    from scipy.stats import rankdata

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
