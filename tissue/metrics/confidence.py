"""How far a model's confidence can be trusted: reliability, and risk against coverage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from tissue.common.files import write_table
from tissue.metrics.classification import calibration_bins

PERCENT = np.arange(1, 101)


def write_confidence(tests: Mapping[str, pd.DataFrame], plots: Path) -> None:
    """Write both tables below for each model's predictions of the test part."""
    for name, table in tests.items():
        write_table(reliability(table), plots / f"reliability_{name}.csv")
        write_table(risk_coverage(table), plots / f"risk_coverage_{name}.csv")


def reliability(table: pd.DataFrame) -> pd.DataFrame:
    """Confidence beside accuracy, for each of the bins of the calibration error that has images.

    Guo et al. 2017, arXiv 1706.04599. The interval is Wilson's at 95 % and takes images as
    independent: with several of one donor it is too narrow.

    Args:
        table: one row an image, with the columns `class`, `predicted` and `confidence`.

    Returns:
        confidence (mean of the bin), accuracy, accuracy_low, accuracy_high, n, by confidence.
    """
    right = (table["class"] == table["predicted"]).to_numpy()
    confidence = table["confidence"].to_numpy(float)
    bins = calibration_bins(table).to_numpy()
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        rows.append(_bin(confidence[inside], right[inside]))
    columns = ["confidence", "accuracy", "accuracy_low", "accuracy_high", "n"]
    return pd.DataFrame(rows, columns=columns)


def _bin(confidence: np.ndarray, right: np.ndarray) -> tuple[Any, ...]:
    hits, n = int(right.sum()), len(right)
    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return float(confidence.mean()), hits / n, float(low), float(high), n


def risk_coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Error rate among the most confident images, for each share of images that is kept.

    El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification". Images
    of the same confidence are kept or set aside together, so that their order does not matter.

    Args:
        table: one row an image, with the columns `class`, `predicted` and `confidence`.

    Returns:
        coverage, error, threshold (the lowest confidence kept) and n, by coverage; at most 100
        rows.
    """
    right = (table["class"] == table["predicted"]).to_numpy()
    confidence = table["confidence"].to_numpy(float)
    order = np.argsort(-confidence, kind="stable")
    wrong, sorted_confidence = np.cumsum(~right[order]), confidence[order]
    ends = np.flatnonzero(np.append(sorted_confidence[1:] != sorted_confidence[:-1], True))
    wanted = -(-PERCENT * len(table) // 100) - 1
    last = np.unique(ends[np.searchsorted(ends, wanted)])
    kept = last + 1
    return pd.DataFrame(
        {
            "coverage": kept / len(table),
            "error": wrong[last] / kept,
            "threshold": sorted_confidence[last],
            "n": kept,
        }
    )
