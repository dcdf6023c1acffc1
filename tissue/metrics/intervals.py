"""Intervals for images of which several come from one donor and are not independent."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
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
    values: NDArray[np.float64], groups: ArrayLike, statistic: Statistic, *, sampling: Sampling
) -> Interval:
    """Return the percentile interval of a statistic of sums, resampling whole groups.

    Field and Welsh, "Bootstrapping clustered data", J R Stat Soc B 2007. The percentiles are
    expanded as in Student's interval, which matters if there are few groups (Hesterberg 2015,
    arXiv 1411.5279). If there is only one group, single images are resampled: the interval is then
    too narrow, as it still is, though less so, with two to four groups.

    `values` (N, K) of each image add up, `groups` (N,) are the donors, and `statistic` maps sums
    (..., K) to values (...).
    """
    sums = sums_by_group(values, groups)
    if len(sums) == 1:
        sums = values
    count = len(sums)
    rng = np.random.default_rng(sampling.seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=sampling.resamples)
    quantile = stats.t.ppf((1 - CONFIDENCE) / 2, count - 1) if count > 1 else -np.inf
    tail = stats.norm.cdf(quantile * np.sqrt(count / max(1, count - 1)))
    low, high = np.quantile(statistic(times @ sums), [tail, 1 - tail])
    return Interval(float(low), float(high))


def sums_by_group(values: NDArray[np.float64], groups: ArrayLike) -> NDArray[np.float64]:
    """Return the sums (G, K) of values (N, K) over the images of each group (N,), sorted by it."""
    codes, names = pd.factorize(np.asarray(groups), sort=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def mean_interval(values: ArrayLike, groups: ArrayLike, *, sampling: Sampling) -> Interval:
    """Return the interval of the mean of values (N,), such as 1 if correct and 0 if not."""
    column = np.asarray(values, float)
    pairs = np.column_stack([column, np.ones_like(column)])
    return bootstrap(pairs, groups, lambda sums: sums[..., 0] / sums[..., 1], sampling=sampling)


def share_interval(hits: ArrayLike, groups: ArrayLike, *, sampling: Sampling) -> Interval:
    """Return the interval of the share of ones among hits (N,), which are 1 or 0.

    If all groups have the same share, the bootstrap interval has no width. Then the exact interval
    (Clopper and Pearson 1934) is returned, with the number of groups as the number of trials.
    """
    column = np.asarray(hits, float)
    interval = mean_interval(column, groups, sampling=sampling)
    if interval.low < interval.high:
        return interval
    trials = len(np.unique(np.asarray(groups)))
    test = stats.binomtest(round(column.mean() * trials), trials)
    low, high = test.proportion_ci(CONFIDENCE, "exact")
    return Interval(float(low), float(high))


def macro_f1(confusions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro-F1 of flattened confusion matrices (..., C * C), actual by predicted.

    As in scikit-learn, the mean is over the classes that occur as actual or as predicted.
    """
    classes = round(confusions.shape[-1] ** 0.5)
    matrix = confusions.reshape(*confusions.shape[:-1], classes, classes)
    correct = np.diagonal(matrix, axis1=-2, axis2=-1)
    total = matrix.sum(-1) + matrix.sum(-2)
    present = total > 0
    scores = np.where(present, 2 * correct / np.where(present, total, 1), 0)
    return scores.sum(-1) / present.sum(-1)


def is_beyond_chance(low: float, high: float, p_value: float) -> bool:
    """Return whether both the interval of a difference and its test rule out chance.

    McNemar's test treats images as independent, which those of one donor are not.
    """
    return p_value < SIGNIFICANT and not low <= 0 <= high
