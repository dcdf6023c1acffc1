"""Two models on the same images: the one paired test of the project, and its interval."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tissue.metrics.intervals import (
    SIGNIFICANT,
    Clusters,
    Interval,
    Sampling,
    Statistic,
    clusters_of,
    mean_interval,
    sums_by_group,
)

ROUNDING = 1e-12


def paired_comparison(
    first: pd.DataFrame,
    second: pd.DataFrame,
    images: pd.DataFrame | ArrayLike | Clusters,
    *,
    sampling: Sampling,
) -> dict[str, Any]:
    """Compare two models on the same images, `first` and `second` row by row.

    The p-value is that of sign flips by donor, see `sign_flip_test`. McNemar's exact test beside it
    treats images as independent: its p-values are too small if a donor has several images.
    """
    from scipy.stats import binomtest  # takes a second, which the report does not need

    clusters = clusters_of(images)
    a = (first["class"] == first["predicted"]).to_numpy()
    b = (second["class"] == second["predicted"]).to_numpy()
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    difference = b.astype(float) - a.astype(float)
    low, high = difference_interval(difference, clusters)
    differing = only_a + only_b
    return {
        "n": len(a),
        "donors": len(np.unique(clusters.donors)),
        "both_right": int((a & b).sum()),
        "both_wrong": int((~a & ~b).sum()),
        "only_scratch": only_a,
        "only_pretrained": only_b,
        "difference": float(difference.mean()),
        "difference_low": low,
        "difference_high": high,
        "p_value": mean_flip_test(difference, clusters, sampling=sampling),
        "p_value_mcnemar": float(binomtest(only_a, differing).pvalue) if differing else 1.0,
    }


def difference_interval(
    differences: ArrayLike, images: pd.DataFrame | ArrayLike | Clusters
) -> Interval:
    """Return the interval of the mean of differences (N,), each between -1 and 1."""
    return mean_interval(differences, images, bounds=(-1.0, 1.0))


def mean_flip_test(
    differences: ArrayLike, images: pd.DataFrame | ArrayLike | Clusters, *, sampling: Sampling
) -> float:
    """Return the two-sided p-value of a mean of differences (N,), see `sign_flip_test`.

    It is exact where the donors' sums are whole numbers, as those of images won and lost are.
    """
    column = np.asarray(differences, float)[:, None]
    sums = sums_by_group(column, clusters_of(images).donors)[:, 0]
    if np.abs(sums - sums.round()).max() < ROUNDING:
        return _exact_flips(sums.round().astype(np.int64))
    return sign_flip_test(
        np.zeros_like(column), column, images, lambda sums: sums[..., 0], sampling=sampling
    )


def _exact_flips(sums: NDArray[np.int64]) -> float:
    """Return the share of all ways to flip the signs of whole sums that are as extreme."""
    from scipy.signal import convolve
    from scipy.stats import binom

    distribution = np.ones(1)  # of the total, from its lowest value to its highest, in steps of one
    for size, count in zip(*np.unique(np.abs(sums[sums != 0]), return_counts=True), strict=True):
        # Of `count` donors with this sum, a binomial number keep their sign.
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = convolve(distribution, steps)
    totals = np.arange(len(distribution)) - len(distribution) // 2
    extreme = float(distribution[np.abs(totals) >= abs(int(sums.sum()))].sum())
    return min(1.0, max(0.0, extreme))  # a convolution by FFT rounds


def sign_flip_test(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    images: pd.DataFrame | ArrayLike | Clusters,
    statistic: Statistic,
    *,
    sampling: Sampling,
) -> float:
    """Return the two-sided p-value of exchanging two models, donor by donor.

    Of a share this flips the sign of each donor's difference (Winkler et al. 2014,
    10.1016/j.neuroimage.2014.01.060). All exchanges are tried if they are not more than the
    resamples, else random ones.

    Args:
        first: values (N, K) of the first model, which add up over images.
        second: of the second model.
        images: see `clusters_of`.
        statistic: maps sums (..., K) to values (...); the difference of both models is tested.
        sampling: number and seed of the exchanges.
    """
    sums = sums_by_group(second - first, clusters_of(images).donors)
    moved = sums[np.abs(sums).max(axis=1) > ROUNDING]
    count, (one, two) = len(moved), (first.sum(axis=0), second.sum(axis=0))
    is_small = 2**count <= sampling.resamples if count < 64 else False
    if is_small:
        chosen = np.arange(2**count)[:, None] >> np.arange(count) & 1
    else:
        rng = np.random.default_rng(sampling.seed)
        chosen = rng.integers(0, 2, (sampling.resamples, count))
    change = chosen @ moved
    drawn = np.abs(statistic(two - change) - statistic(one + change))
    extreme = drawn >= abs(float(statistic(two) - statistic(one))) - ROUNDING
    # Random exchanges do not contain the real one, which is counted, too.
    return float(extreme.mean() if is_small else (1 + extreme.sum()) / (1 + len(extreme)))


def is_beyond_chance(low: float, high: float, p_value: float) -> bool:
    """Return whether both the interval of a difference and its test rule out chance.

    The interval also knows antibodies, which the test, by donor, does not.
    """
    return p_value < SIGNIFICANT and not low <= 0 <= high
