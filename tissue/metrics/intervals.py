"""Intervals that know that images of one donor are not independent."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Sampling(NamedTuple):
    """How groups are resampled: how often, and the seed."""

    resamples: int
    seed: int


class Interval(NamedTuple):
    """The bounds of a 95 % interval."""

    low: float
    high: float


def bootstrap(
    values: NDArray[np.float64],
    groups: ArrayLike,
    statistic: Statistic,
    *,
    sampling: Sampling,
) -> Interval:
    """Percentile interval of a statistic of sums, resampling whole groups with replacement.

    Field and Welsh, "Bootstrapping clustered data", J R Stat Soc B 2007; expanded as Student's
    interval is, which matters where groups are few (Hesterberg 2015, arXiv 1411.5279). Of a single
    group, which tells nothing of others, single images are resampled: the interval is then too
    narrow, as it is, less so, of two to four.

    Args:
        values: (N, K), K additive values an image, e.g. right or wrong, and one.
        groups: (N,) the donor of each image.
        statistic: from sums (..., K) to the statistic (...).
        sampling: how often the groups are resampled, and the seed.
    """
    sums = sums_by_group(values, groups)
    if len(sums) == 1:
        sums = sums_by_group(values, np.arange(len(values)))
    count = len(sums)
    rng = np.random.default_rng(sampling.seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=sampling.resamples)
    beyond = stats.t.ppf((1 - CONFIDENCE) / 2, count - 1) if count > 1 else -np.inf
    tail = stats.norm.cdf(beyond * np.sqrt(count / max(1, count - 1)))
    low, high = np.quantile(statistic(times @ sums), [tail, 1 - tail])
    return Interval(float(low), float(high))


def sums_by_group(values: NDArray[np.float64], groups: ArrayLike) -> NDArray[np.float64]:
    """Return the sums (G, K) of values (N, K) over the images of each group (N,), sorted by it."""
    codes, names = pd.factorize(np.asarray(groups), sort=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean from sums (..., 2) of values and of ones."""
    return sums[..., 0] / sums[..., 1]


def mean_interval(values: ArrayLike, groups: ArrayLike, *, sampling: Sampling) -> Interval:
    """Interval of the mean of values (N,), e.g. of right (1) and wrong (0) answers."""
    column = np.asarray(values, float)
    pairs = np.column_stack([column, np.ones_like(column)])
    return bootstrap(pairs, groups, mean, sampling=sampling)


def share_interval(hits: ArrayLike, groups: ArrayLike, *, sampling: Sampling) -> Interval:
    """Interval of a share, of hits (N,) that are 1 or 0.

    Where all groups are alike, resampling them would claim certainty: then it is the exact one
    (Clopper and Pearson 1934), with as many trials as there are groups.
    """
    column = np.asarray(hits, float)
    found = mean_interval(column, groups, sampling=sampling)
    if found.low < found.high:
        return found
    trials = len(np.unique(np.asarray(groups)))
    exact = stats.binomtest(round(column.mean() * trials), trials).proportion_ci(
        CONFIDENCE, "exact"
    )
    return Interval(float(exact.low), float(exact.high))


def macro_f1(confusions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Macro-F1 from flattened confusion matrices (..., C * C), actual by predicted.

    As in scikit-learn, over the classes that occur as actual or as predicted.
    """
    classes = round(confusions.shape[-1] ** 0.5)
    matrix = confusions.reshape(*confusions.shape[:-1], classes, classes)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    total = matrix.sum(-1) + matrix.sum(-2)
    seen = total > 0
    scores = np.where(seen, 2 * right / np.where(seen, total, 1), 0)
    return scores.sum(-1) / seen.sum(-1)


SIGNIFICANT = 0.05


def is_beyond_chance(low: float, high: float, p_value: float) -> bool:
    """Whether a difference is more than chance by its interval and by its test.

    McNemar's test takes images as independent, and those of a donor are not: so both decide.
    """
    return p_value < SIGNIFICANT and not low <= 0 <= high
