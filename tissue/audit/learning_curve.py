"""Accuracy against the number of donors, its fit, and how many more donors five points take."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit

from tissue.audit.cross_validation import FOLDS, divisions, head, is_right
from tissue.audit.examples import Examples
from tissue.metrics.intervals import mean_interval, sums_by_group

ENOUGH = 6  # groups of a class to take part: with five folds, four of them can be learned from
REFITS = 200
SIZES = 7  # numbers of groups at which accuracy is measured
FIT = ("ceiling", "gap", "slope")  # parameters of the power law
LEAST_SIZES = 4  # in a fit, which has three parameters
GAIN = 0.05  # of accuracy, whose price in groups is asked for
REACH = 5  # times as many groups as were measured: nothing is said of more
LEAST_SLOPE, STEEPEST = 0.1, 2.0  # of the power law


class Curve(NamedTuple):
    """Accuracy by the number of groups of each class that were learned from.

    Attributes:
        sizes: numbers of groups, int64 (M,), ascending.
        right: how often each image was right with each of them, (N, M).
        groups: group of each image, int64 (N,).
        classes: how many classes took part.
    """

    sizes: NDArray[np.int64]
    right: NDArray[np.float64]
    groups: NDArray[np.int64]
    classes: int


def measure_curve(examples: Examples, *, repeats: int, seed: int) -> Curve | None:
    """Cross-validate by group, learning from few groups of each class up to nearly all.

    Of the groups in the training part of a fold, the first of a random order are taken, so that
    larger numbers contain the smaller ones. None if fewer than two classes have six groups.
    """
    pairs = pd.DataFrame({"label": examples.labels, "group": examples.groups})
    counts = pairs.groupby("label")["group"].nunique()
    counts = counts[counts >= ENOUGH]
    if len(counts) < 2:
        return None
    rows = np.flatnonzero(pairs["label"].isin(counts.index))
    labels, groups = examples.labels[rows], examples.groups[rows]
    features = examples.features[rows]
    most = counts.min() * (FOLDS - 1) // FOLDS
    sizes = np.unique(np.geomspace(1, most, SIZES).round().astype(int))
    right = np.zeros((len(rows), len(sizes)))
    divided = divisions(labels, groups, repeats=repeats, seed=seed)
    for number, (train, held_out) in enumerate(fold for division in divided for fold in division):
        place = _places(labels[train], groups[train], np.random.default_rng([seed, number]))
        for column, size in enumerate(sizes):
            some = train[place < size]
            hits = is_right(head, features, labels, some, held_out)
            right[held_out, column] += hits / repeats
    return Curve(sizes, right, groups, len(counts))


def _places(
    labels: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the place of each image's group, from 0, among those of its class in random order."""
    order = rng.permutation(groups.max() + 1)
    ranks = pd.Series(order[groups]).groupby(labels).rank(method="dense")
    return ranks.to_numpy(np.int64) - 1


def power_law(size: Any, ceiling: float, gap: float, slope: float) -> Any:
    """Return the accuracy with some number of groups: `ceiling - gap * size ** -slope`.

    The inverse power law of learning curves (Figueroa et al. 2012, doi 10.1186/1472-6947-12-8).
    """
    return ceiling - gap * np.power(np.asarray(size, float), -slope)


def fit_power_law(sizes: NDArray[np.int64], accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ceiling, gap and slope by least squares; the ceiling is at most 1."""
    start = (min(1.0, accuracy.max() + GAIN), max(0.01, np.ptp(accuracy)), 0.7)
    bounds = ((0, 0, LEAST_SLOPE), (1, 1, STEEPEST))
    with warnings.catch_warnings():
        # The covariance, which is not used, is unknown where a parameter lies on its bound.
        warnings.simplefilter("ignore", OptimizeWarning)
        return curve_fit(power_law, sizes, accuracy, p0=start, bounds=bounds, max_nfev=2000)[0]


def describe_curve(curve: Curve, *, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the table of the plot, and for `metrics/audit.json` the fit and what it promises.

    `doubled` is what twice as many groups add to the accuracy, and `more_groups` the number of
    groups of each class that would add `GAIN`; it and its bounds are left out where they exceed
    what `REACH` allows or the fit never gets there. All are of the one fit that is drawn. Their
    bounds are quantiles over refits, and contain it: each refit resamples the groups, and leaves
    out some of the smallest numbers at random, as it is not known whether these follow the law.
    """
    accuracy = curve.right.mean(axis=0)
    fitted = fit_power_law(curve.sizes, accuracy)
    bounds = [mean_interval(column, curve.groups) for column in curve.right.T]
    table = pd.DataFrame(
        {
            "groups": curve.sizes, "accuracy": accuracy, "low": [one.low for one in bounds],
            "high": [one.high for one in bounds], "fitted": power_law(curve.sizes, *fitted),
        }
    )  # fmt: skip
    most = int(curve.sizes[-1])
    described: dict[str, Any] = {"fit": dict(zip(FIT, map(float, fitted), strict=True))}
    described |= {"gain": GAIN, "classes": curve.classes, "groups": most, "reach": REACH}
    described |= {"images": len(curve.groups), "all_groups": len(np.unique(curve.groups))}
    promised = _promises(fitted, most)
    refitted = pd.DataFrame([_promises(fit, most) for fit in _refit(curve, seed)])
    for key, value in promised.items():
        # Infinitely many groups have no mean, so quantiles are values of refits.
        low, high = refitted[key].quantile([0.025, 0.975], interpolation="nearest")
        bounded = {key: value, f"{key}_low": min(low, value), f"{key}_high": max(high, value)}
        if key == "more_groups":
            bounded = {
                name: int(np.ceil(more))
                for name, more in bounded.items()
                if more <= (REACH - 1) * most
            }
        described |= bounded
    return table, described


def _promises(fitted: NDArray[np.float64], most: int) -> dict[str, float]:
    """Return what a fit says of more than `most` groups of each class."""
    doubled = power_law(2 * most, *fitted) - power_law(most, *fitted)
    return {
        "ceiling": float(fitted[0]),
        "doubled": float(doubled),
        "more_groups": _more_groups(fitted, most),
    }


def _refit(curve: Curve, seed: int) -> NDArray[np.float64]:
    """Return fits (R, 3) to resampled groups."""
    sums = sums_by_group(np.column_stack([curve.right, np.ones(len(curve.right))]), curve.groups)
    rng = np.random.default_rng(seed)
    fits = []
    for times in rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=REFITS):
        first = rng.integers(len(curve.sizes) - LEAST_SIZES + 1)
        *right, images = times @ sums
        fits.append(fit_power_law(curve.sizes[first:], np.array(right[first:]) / images))
    return np.array(fits)


def _more_groups(fitted: NDArray[np.float64], most: int) -> float:
    """Return how many more groups of each class give `GAIN`, or infinity."""
    ceiling, gap, slope = fitted
    target = power_law(most, *fitted) + GAIN
    return float((gap / (ceiling - target)) ** (1 / slope)) - most if ceiling > target else np.inf
