"""How far a model's confidence can be trusted: reliability, and risk against coverage."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from tissue.metrics.classification import calibration_bins

PERCENT = np.arange(1, 101)


def reliability(table: pd.DataFrame) -> pd.DataFrame:
    """Return confidence and accuracy of each bin of the calibration error that has images.

    Guo et al. 2017, arXiv 1706.04599. The 95 % interval is Wilson's, which treats images as
    independent: it is too narrow if a donor has several. The columns are confidence (mean of the
    bin), accuracy, accuracy_low, accuracy_high and n.
    """
    rows = []
    for _, inside in table.groupby(calibration_bins(table)):
        hits, n = int((inside["class"] == inside["predicted"]).sum()), len(inside)
        low, high = binomtest(hits, n).proportion_ci(method="wilson")
        rows.append((inside["confidence"].to_numpy(float).mean(), hits / n, low, high, n))
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
