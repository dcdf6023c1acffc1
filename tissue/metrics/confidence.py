"""How far a model's confidence can be trusted: reliability, and risk against coverage."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tissue.metrics.calibration import calibration_bins
from tissue.metrics.intervals import Clusters, clusters_of, share_interval

PERCENT = np.arange(1, 101)
KEPT = 0.8  # share of the validation images that the threshold of `selective_error` keeps


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
