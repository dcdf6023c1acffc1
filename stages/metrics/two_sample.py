"""Two figures of how far two samples of points are apart, each for many divisions at once."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.model_selection import GroupKFold

FOLDS = 5
PENALTY = 1.0  # of the ridge, in units of the mean variance of the components


def told_apart(
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
