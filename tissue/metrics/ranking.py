"""How well probabilities rank: ROC and precision-recall curves, their areas and intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from tissue.metrics.intervals import Clusters, Statistic, statistic_interval

Values = NDArray[np.float64]
POINTS = 200  # of a curve, at most


class Area(NamedTuple):
    """The area under a curve with its 95 % interval."""

    value: float
    low: float
    high: float


def area_under_roc(
    scores: Values, positive: NDArray[np.bool_], images: pd.DataFrame | ArrayLike | Clusters
) -> Area:
    """Return how often a positive scores higher than a negative, ties by half.

    The interval is that of `statistic_interval` for the structural components of DeLong et al.
    1988, by cluster as in Obuchowski 1997 (doi 10.2307/2533958).

    Args:
        scores: (N, K) of N images; of images with one score each, (N, 1).
        positive: (N, K), with at least one of each kind.
        images: the N images, see `clusters_of`.
    """
    ranks = rankdata(scores).reshape(scores.shape)
    above, below = np.zeros(scores.shape), np.zeros(scores.shape)
    count, others = positive.sum(), (~positive).sum()
    # Of each positive, the share of negatives below it; of each negative, of positives above it.
    above[positive] = (ranks[positive] - rankdata(scores[positive])) / others
    below[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / count
    value = float(above.sum() / count)
    columns = [above, positive, below, ~positive]
    sums = np.column_stack([one.sum(axis=1).astype(float) for one in columns])
    return Area(value, *statistic_interval(sums, images, _both_means(value), bounds=(0.0, 1.0)))


def _both_means(value: float) -> Statistic:
    def statistic(sums: Values) -> Values:
        first, second = np.maximum(sums[..., 1], 1e-9), np.maximum(sums[..., 3], 1e-9)
        return sums[..., 0] / first + sums[..., 2] / second - value

    return statistic


def average_precision(
    scores: Values, positive: NDArray[np.bool_], images: pd.DataFrame | ArrayLike | Clusters
) -> Area:
    """Return the mean precision at the scores of the positives, the area under precision-recall.

    The interval is that of `statistic_interval` for the influence of each score on the mean. Of a
    positive it is its own precision, and what it adds to the precision at lower scores, to which a
    negative takes. Arguments are those of `area_under_roc`.
    """
    flat, hits = scores.ravel(), positive.ravel()
    value = float(average_precision_score(hits, flat))
    order = np.argsort(-flat, kind="stable")
    # Equal scores share a threshold: the last of them counts all.
    last = np.searchsorted(-flat[order], -flat[order], side="right")
    precision = np.cumsum(hits[order])[last - 1] / last
    # What a unit more at this score or above adds to the mean, over the positives from it down.
    given = np.where(hits[order], (1 - precision) / last, 0.0)
    taken = np.where(hits[order], precision / last, 0.0)
    first = np.searchsorted(-flat[order], -flat[order], side="left")
    gain, loss = (np.cumsum(one[::-1])[::-1][first] for one in (given, taken))
    influence = np.zeros(flat.size)
    influence[order] = np.where(hits[order], precision - value + gain, -loss) / hits.sum()
    column = influence.reshape(scores.shape).sum(axis=1, keepdims=True)
    spread = statistic_interval(column, images, lambda s: value + s[..., 0], bounds=(0.0, 1.0))
    return Area(value, *spread)


def ranking_of(table: pd.DataFrame, classes: Sequence[str]) -> tuple[Values, NDArray[np.bool_]]:
    """Return the probabilities of a prediction table (N, K), and which are of the true class.

    Curves of all classes together rank these pairs of an image and a class (micro-average).
    """
    scores = table[[f"p_{name}" for name in classes]].to_numpy(float)
    return scores, table["class"].to_numpy()[:, None] == np.asarray(classes)[None]


def ranking_curves(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return points of both curves of all classes together, at most 200 of each.

    The columns are curve (`roc` or `precision_recall`), x (false positive rate or recall) and y
    (true positive rate or precision).
    """
    scores, positive = (one.ravel() for one in ranking_of(table, classes))
    wrong, right, _ = roc_curve(positive, scores)
    precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
    curves = {"roc": (wrong, right), "precision_recall": (recall[::-1], precision[::-1])}
    rows = []
    for name, (x, y) in curves.items():
        kept = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
        rows.append(pd.DataFrame({"curve": name, "x": x[kept], "y": y[kept]}))
    return pd.concat(rows, ignore_index=True)


def ranking_metrics(
    table: pd.DataFrame, images: pd.DataFrame | ArrayLike | Clusters, classes: Sequence[str]
) -> dict[str, float]:
    """Return both areas with `_low` and `_high` for each, none of a single class."""
    if len(classes) < 2:
        return {}
    pairs, found = ranking_of(table, classes), dict[str, float]()
    for key, measure in (("roc_auc", area_under_roc), ("average_precision", average_precision)):
        area = measure(*pairs, images)
        found |= {key: area.value, f"{key}_low": area.low, f"{key}_high": area.high}
    return found
