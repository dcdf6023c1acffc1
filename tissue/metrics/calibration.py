"""How far confidence can be trusted: scores, calibration error, and risk against coverage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tissue.metrics.intervals import (
    SIGNIFICANT,
    TAIL,
    Clusters,
    Groups,
    Interval,
    Sampling,
    clusters_of,
    mean_interval,
    share_interval,
    sums_by_group,
)

CALIBRATION_BINS = 15
LEAST = 1e-12  # probability whose logarithm is finite
SCALES = np.linspace(0, 4, 81)  # of the measured gaps, that the interval tries
PERCENT = np.arange(1, 101)
KEPT = 0.8  # share of the validation images that the threshold of `selective_error` keeps


def calibration_bins(table: pd.DataFrame) -> pd.Series:
    """Return the number of the confidence bin of each image."""
    return np.minimum((table["confidence"] * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy over bins.

    15 bins of equal width, as in Guo et al. 2017, arXiv 1706.04599.
    """
    correct = (table["class"] == table["predicted"]).astype(float)
    gaps = (correct - table["confidence"]).groupby(calibration_bins(table)).sum().abs()
    return float(gaps.sum() / len(table))


def calibration_metrics(
    table: pd.DataFrame,
    images: pd.DataFrame | ArrayLike | Clusters,
    *,
    classes: Sequence[str],
    sampling: Sampling,
) -> dict[str, Any]:
    """Return scores of the probabilities, each with its interval, and what chance would give.

    - nll and brier: means of the negative log-likelihood and of the squared distance of the
      probabilities from the class. A lower score is better; both also fall with more accuracy.
    - rms_calibration_error: the root mean square of the gaps, debiased as in Kumar et al. 2019,
      arXiv 1909.10155, so that chance alone gives about 0. This is the estimate of the error.
    - ece: see `calibration_error`. It is above 0 by chance even for a calibrated model, so it has
      no interval: ece_chance is its mean for a calibrated model, with a 95 % range, and ece_p_value
      the share of draws at least as high.
    """
    clusters, values = clusters_of(images), _scores(table, classes)
    measured: dict[str, Any] = {key: float(column.mean()) for key, column in values.items()}
    gaps, covariance, shares = _gaps(table, clusters)
    draws = _draws(covariance, sampling)
    measured["ece"] = float(np.abs(gaps).sum())
    by_chance = np.abs(draws).sum(axis=1)
    measured["ece_chance"] = float(by_chance.mean())
    exceeding = int((by_chance >= measured["ece"] - LEAST).sum())
    measured["ece_p_value"] = (1 + exceeding) / (1 + len(draws))
    squared = float(((gaps**2 - np.diag(covariance)) / shares).sum())
    error = measured["rms_calibration_error"] = max(0.0, squared) ** 0.5
    low, high = _rms_interval(gaps, draws, shares)
    intervals = {
        "nll": mean_interval(values["nll"], clusters),
        "brier": mean_interval(values["brier"], clusters, bounds=(0.0, 2.0)),
        "ece_chance": Interval(*map(float, np.quantile(by_chance, [1 - TAIL, TAIL]))),
        # Inverted on a grid of scales, it could miss the estimate by a step.
        "rms_calibration_error": Interval(min(low, error), max(high, error)),
    }
    for key, bounds in intervals.items():
        measured |= {f"{key}_low": max(0.0, bounds.low), f"{key}_high": bounds.high}
    return measured


def is_calibrated(test: dict[str, Any]) -> bool:
    """Return whether the calibration error of a test set is no higher than chance allows."""
    return test["ece_p_value"] >= SIGNIFICANT


def _scores(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    probabilities = table[[f"p_{name}" for name in classes]].to_numpy(float)
    rows, labels = np.arange(len(table)), pd.Index(classes).get_indexer(table["class"])
    of_class = probabilities[rows, labels]
    brier = (probabilities**2).sum(axis=1) - 2 * of_class + 1
    return {"nll": -np.log(np.maximum(of_class, LEAST)), "brier": brier}


def _gaps(
    table: pd.DataFrame, clusters: Clusters
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the gap of each bin as its part of the error (J,), their covariance, and the shares.

    The covariance is that of sums over donors, plus over antibodies, less over images that share
    both (Cameron, Gelbach and Miller 2011), without negative eigenvalues.
    """
    bins = pd.factorize(calibration_bins(table), sort=True)[0]
    right = (table["class"] == table["predicted"]).to_numpy(float)
    residuals = (right - table["confidence"].to_numpy(float)) / len(table)
    one_hot = np.eye(bins.max() + 1)[bins]
    gaps, counts = residuals @ one_hot, one_hot.sum(axis=0)
    donors = (sums_by_group(one_hot, clusters.donors) > 0).sum(axis=0)
    # The mean of a bin with a single donor says nothing about its variance.
    mean = np.where(donors > 1, gaps / counts, 0)
    spread = one_hot * ((residuals - mean[bins]) * np.sqrt(_correction(donors))[bins])[:, None]
    covariance = _cluster_covariance(spread, clusters.donors)
    if clusters.factor is not None:
        pairs = clusters.donors * (clusters.factor.max() + 1) + clusters.factor
        covariance += _cluster_covariance(spread, clusters.factor)
        covariance -= _cluster_covariance(spread, pairs)
    values, vectors = np.linalg.eigh(covariance)
    return gaps, (vectors * np.maximum(values, 0)) @ vectors.T, counts / len(table)


def _correction(donors: NDArray[np.int64]) -> NDArray[np.float64]:
    return donors / np.maximum(donors - 1, 1)


def _cluster_covariance(values: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    sums = sums_by_group(values, np.unique(groups, return_inverse=True)[1])
    return sums.T @ sums


def _draws(covariance: NDArray[np.float64], sampling: Sampling) -> NDArray[np.float64]:
    """Return draws (R, J) of the gaps of a calibrated model, which have this covariance."""
    values, vectors = np.linalg.eigh(covariance)
    normal = np.random.default_rng(sampling.seed).normal(size=(sampling.resamples, len(values)))
    return (normal * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _rms_interval(
    gaps: NDArray[np.float64], draws: NDArray[np.float64], shares: NDArray[np.float64]
) -> Interval:
    """Return the interval of the root mean square of the true gaps, by inversion of a test.

    The true gaps are taken to be a multiple of the trend of the measured ones over the bins, since
    a temperature or a shift causes a trend, and the rest is mostly noise. Multiples are kept at
    which neither an error as high as the measured one nor one as low is rare.
    """

    def norm(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt((values**2 / shares).sum(axis=-1))

    measured = float(norm(gaps))
    trend = np.column_stack([np.ones_like(shares), np.arange(len(shares))])
    root = np.sqrt(shares)
    fitted = trend @ np.linalg.lstsq(trend * root[:, None], gaps / root, rcond=None)[0] * shares
    fitted *= measured / max(float(norm(fitted)), LEAST)
    drawn = [norm(scale * fitted + draws) for scale in SCALES]
    above = [(values >= measured - LEAST).mean() >= 1 - TAIL for values in drawn]
    below = [(values <= measured + LEAST).mean() >= 1 - TAIL for values in drawn]
    low, high = int(np.argmax(above)), int(np.flatnonzero([True, *below[1:]]).max())
    return Interval(float(SCALES[low] * measured), float(SCALES[max(low, high)] * measured))


def reliability(table: pd.DataFrame, images: pd.DataFrame | ArrayLike | Clusters) -> pd.DataFrame:
    """Return confidence and accuracy of each bin of the calibration error that has images.

    Guo et al. 2017, arXiv 1706.04599. The columns are confidence (mean of the bin), accuracy,
    accuracy_low, accuracy_high (see `share_interval`) and n.
    """
    rows, clusters = [], clusters_of(images)
    right = (table["class"] == table["predicted"]).to_numpy(float)
    confidence = table["confidence"].to_numpy(float)
    bins = calibration_bins(table).to_numpy()
    for number in np.unique(bins):
        inside = bins == number
        low, high = share_interval(right[inside], clusters.take(inside))
        rows.append((confidence[inside].mean(), right[inside].mean(), low, high, inside.sum()))
    columns = ["confidence", "accuracy", "accuracy_low", "accuracy_high", "n"]
    return pd.DataFrame(rows, columns=columns)


def risk_coverage(table: pd.DataFrame, images: pd.DataFrame | ArrayLike | Clusters) -> pd.DataFrame:
    """Return the error rate among the most confident images, for each share that is kept.

    El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification". Images
    of equal confidence are kept or rejected together, so the order of rows does not matter. The
    columns are coverage, error, error_low, error_high (see `share_interval`), threshold (the lowest
    confidence kept) and n; at most 100 rows.
    """
    order = np.argsort(-table["confidence"].to_numpy(float), kind="stable")
    confidence = table["confidence"].to_numpy(float)[order]
    wrong = (table["class"] != table["predicted"]).to_numpy()[order]
    clusters = clusters_of(images).take(order)
    ends = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True))
    wanted = -(-PERCENT * len(table) // 100) - 1
    last = np.unique(ends[np.searchsorted(ends, wanted)])
    kept = last + 1
    bounds = [share_interval(wrong[:n], clusters.take(np.arange(n))) for n in kept]
    return pd.DataFrame(
        {
            "coverage": kept / len(table),
            "error": np.cumsum(wrong)[last] / kept,
            "error_low": [one.low for one in bounds],
            "error_high": [one.high for one in bounds],
            "threshold": confidence[last],
            "n": kept,
        }
    )


def selective_error(
    validation: pd.DataFrame, tested: pd.DataFrame, images: pd.DataFrame | ArrayLike | Clusters
) -> dict[str, Any]:
    """Return the error rate of a model that leaves images of low confidence to a human.

    The threshold is that which KEPT of the validation images reach, so the test images, which
    `images` describe, choose nothing. Returned are threshold, n and errors of the test images that
    reach it, and error, error_low and error_high, 0 if there are none.
    """
    confidence = np.sort(validation["confidence"].to_numpy(float))
    threshold = confidence[int((1 - KEPT) * len(confidence) + 1e-9)]
    answered = tested["confidence"].to_numpy(float) >= threshold
    wrong = (tested["class"] != tested["predicted"]).to_numpy()[answered]
    found: dict[str, Any] = {"threshold": float(threshold), "n": len(wrong)}
    found |= {"errors": int(wrong.sum()), "error": 0.0, "error_low": 0.0, "error_high": 0.0}
    if len(wrong):
        low, high = share_interval(wrong, clusters_of(images).take(answered))
        found |= {"error": float(wrong.mean()), "error_low": low, "error_high": high}
    return found
