"""How far a model's confidence can be trusted: reliability, and risk against coverage."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tissue.metrics.calibration import calibration_bins
from tissue.metrics.intervals import Clusters, clusters_of, share_interval

PERCENT = np.arange(1, 101)


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


def risk_coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Return the error rate among the most confident images, for each share that is kept.

    El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification". Images
    of equal confidence are kept or rejected together, so the order of rows does not matter. The
    columns are coverage, error, threshold (the lowest confidence kept) and n; at most 100 rows.
    """
    ranked = table.sort_values("confidence", ascending=False, kind="stable")
    confidence = ranked["confidence"].to_numpy(float)
    errors = np.cumsum((ranked["class"] != ranked["predicted"]).to_numpy())
    ends = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True))
    wanted = -(-PERCENT * len(table) // 100) - 1
    last = np.unique(ends[np.searchsorted(ends, wanted)])
    kept = last + 1
    return pd.DataFrame(
        {
            "coverage": kept / len(table),
            "error": errors[last] / kept,
            "threshold": confidence[last],
            "n": kept,
        }
    )
