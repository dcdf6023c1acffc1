"""Intervals for images that are not independent: several come from one donor, or one antibody.

The variance is that of the jackknife over donors plus that over antibodies (or slides), minus that
over the images that share both (Cameron, Gelbach and Miller 2011, 10.1198/jbes.2010.07136). Shares
get Wilson's interval with the number of independent images that has this variance (Dean and Pagano
2015, 10.1093/jssam/smv024), reduced for the degrees of freedom with which the variance is known:
donors less classes, as in surveys (Korn and Graubard 1998). Estimated degrees of freedom
(Satterthwaite) would be 1 for a share of a single hit, whose interval then says nothing.
`benchmarks/coverage.py` measures how often these intervals cover the truth, beside the bootstrap,
which misses recalls near 1.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit  # scipy.stats, which has them too, takes a second

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
TAIL = (1 + CONFIDENCE) / 2
FACTORS = ("antibody", "slide")  # the first that is known; an antibody has one slide or more
NONE = 1e-15  # a variance below it is rounding
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Groups = NDArray[np.int64]


class Sampling(NamedTuple):
    """How random draws are made: how many, and the seed."""

    resamples: int
    seed: int


class Interval(NamedTuple):
    """The bounds of a 95 % interval."""

    low: float
    high: float


class Clusters(NamedTuple):
    """The donor, the class and, where known, the antibody or slide of each image, int (N,)."""

    donors: Groups
    classes: Groups
    factor: Groups | None = None

    def take(self, rows: NDArray[np.bool_] | Groups) -> "Clusters":
        """Return the clusters of some images."""
        factor = None if self.factor is None else self.factor[rows]
        return Clusters(self.donors[rows], self.classes[rows], factor)


class Spread(NamedTuple):
    """The variance of a statistic, and the degrees of freedom with which it is known."""

    variance: float
    freedom: float


def clusters_of(images: pd.DataFrame | ArrayLike | Clusters) -> Clusters:
    """Return the clusters of images, from their table or, if only donors are known, from these.

    A table has the columns group and class and may have antibody and slide, empty where unknown;
    such an image is an antibody of its own. Images of a single donor count as independent: there is
    nothing else to compare, and the intervals are too narrow.
    """
    if isinstance(images, Clusters):
        return images
    table = images if isinstance(images, pd.DataFrame) else pd.DataFrame({"group": images})
    classes = table["class"] if "class" in table else np.zeros(len(table))
    donors = _codes(table["group"])
    if len(table) and donors.max() == 0:
        donors = np.arange(len(table))
    known = [name for name in FACTORS if name in table and (table[name].astype(str) != "").any()]
    factor = None
    if known:
        names = table[known[0]].astype(str).to_numpy()
        own = np.char.add("image ", np.arange(len(table)).astype(str))
        factor = _codes(np.where(names == "", own, np.char.add("known ", names.astype(np.str_))))
    return Clusters(donors, _codes(classes), factor)


def _codes(names: ArrayLike) -> Groups:
    return pd.factorize(np.asarray(names), sort=True)[0].astype(np.int64)


def sums_by_group(values: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Return the sums (G, K) of values (N, K) over the images of each group, numbered (N,)."""
    sums = np.zeros((int(groups.max()) + 1, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def spread_of(values: NDArray[np.float64], clusters: Clusters, statistic: Statistic) -> Spread:
    """Return the variance of a statistic of sums.

    `values` (N, K) of each image add up, and `statistic` maps sums (..., K) to values (...).
    """
    donors = _jackknife(values, clusters.donors, clusters.classes, statistic)
    if clusters.factor is None or len(np.unique(clusters.factor)) == 1:
        return donors
    pairs = _codes(clusters.donors * (clusters.factor.max() + 1) + clusters.factor)
    # An antibody stains all classes, so its strata are not those of the donors.
    one = np.zeros_like(clusters.classes)
    factor = _jackknife(values, _codes(clusters.factor), one, statistic)
    both = _jackknife(values, pairs, clusters.classes, statistic)
    joint = donors.variance + factor.variance - both.variance
    return Spread(max(donors.variance, joint), min(donors.freedom, factor.freedom))


def _jackknife(
    values: NDArray[np.float64], groups: Groups, classes: Groups, statistic: Statistic
) -> Spread:
    """Return the variance over groups within classes; of freedom there are groups less classes.

    A group is left out by giving its weight to the others of its class, so that classes keep their
    shares (Shao and Tu 1995, section 6.2).
    """
    groups = _codes(groups)
    sums = sums_by_group(values, groups)
    total, variance, freedom = sums.sum(axis=0), 0.0, 0
    strata = _strata(groups, classes)
    for stratum in np.unique(strata):
        inside = sums[strata == stratum]
        count, own = len(inside), inside.sum(axis=0)
        if count > 1:
            left = statistic(total - own + (own - inside) * (count / (count - 1)))
            variance += float((count - 1) / count * ((left - left.mean()) ** 2).sum())
            freedom += count - 1
    return Spread(0.0 if variance < NONE else variance, max(1, freedom))


def _strata(groups: Groups, classes: Groups) -> Groups:
    """Return the stratum of each group: its most frequent class; lone groups share a stratum."""
    counts = np.zeros((int(groups.max()) + 1, int(classes.max()) + 1))
    np.add.at(counts, (groups, classes), 1)
    strata = counts.argmax(axis=1)
    lone = np.bincount(strata)[strata] == 1
    if lone.sum() == 1 and not lone.all():
        lone |= strata == strata[~lone][0]
    return np.where(lone, -1, strata)


def statistic_interval(
    values: NDArray[np.float64],
    images: pd.DataFrame | ArrayLike | Clusters,
    statistic: Statistic,
    *,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Return the interval of a statistic of sums, see `spread_of` and `clusters_of`.

    It is Wilson's if the statistic lies between `bounds`, else Student's.
    """
    clusters = clusters_of(images)
    spread = spread_of(values, clusters, statistic)
    value = float(statistic(values.sum(axis=0)))
    quantile = float(stdtrit(spread.freedom, TAIL))
    if bounds is None:
        margin = quantile * spread.variance**0.5
        return Interval(value - margin, value + margin)
    donors, (low, high) = len(np.unique(clusters.donors)), bounds
    if spread.variance < NONE and low < 0:  # all donors point one way
        low, high = (low, 0.0) if value < 0 else (0.0, high)
    share, variance = (value - low) / (high - low), spread.variance / (high - low) ** 2
    product = share * (1 - share)
    # Donors that are all alike are as many trials.
    trials = product / variance if variance > NONE and product > NONE else donors
    # Korn and Graubard 1998: fewer trials where the variance is known less well.
    trials *= float(stdtrit(max(1, len(values) - 1), TAIL) / quantile) ** 2
    wilson = Interval(*(low + (high - low) * bound for bound in _wilson(share, trials)))
    # A difference of nothing anywhere may have either sign elsewhere.
    return Interval(-wilson.high, wilson.high) if low > bounds[0] and value == 0 else wilson


def _wilson(share: float, trials: float) -> tuple[float, float]:
    square = float(ndtri(TAIL)) ** 2
    centre = (share + square / trials / 2) / (1 + square / trials)
    margin = (square * (share * (1 - share) / trials + square / trials**2 / 4)) ** 0.5
    margin /= 1 + square / trials
    # Rounding would leave a share of 0 or 1 outside.
    return min(share, max(0.0, centre - margin)), max(share, min(1.0, centre + margin))


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[..., 0] / sums[..., 1]


def mean_interval(
    values: ArrayLike,
    images: pd.DataFrame | ArrayLike | Clusters,
    *,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Return the interval of the mean of values (N,), see `statistic_interval`."""
    column = np.asarray(values, float)
    pairs = np.column_stack([column, np.ones_like(column)])
    return statistic_interval(pairs, images, _mean, bounds=bounds)


def share_interval(hits: ArrayLike, images: pd.DataFrame | ArrayLike | Clusters) -> Interval:
    """Return Wilson's interval of the share of ones among hits (N,), which are 1 or 0."""
    return mean_interval(hits, images, bounds=(0.0, 1.0))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number (Holm 1979, Scand J Stat 6, 65-70)."""
    corrected, highest = {}, 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_value))
        corrected[name] = highest
    return corrected
