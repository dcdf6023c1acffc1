"""How often each cause is found, among errors and among correct predictions.

A cause explains errors only if it is more frequent among them than among correct predictions.
Intervals are by donor.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.names import SYSTEMS, is_atlas
from tissue.error_analysis.table import CAUSES, NONE_FOUND
from tissue.metrics.intervals import share_interval, statistic_interval


def summarise_causes(tested: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return the summary of one model, nested as in `metrics/errors.json`.

    `tested` has the class, predicted, group, cause and confusable of each test image. The cause of
    a correct prediction is the one that would be named if it were an error.
    """
    wrong = tested[tested["class"] != tested["predicted"]]
    summary: dict[str, Any] = {
        "images": len(tested),
        "errors": len(wrong),
        "causes": {cause: _contrast(tested, cause) for cause in (*CAUSES, NONE_FOUND)},
    }
    if is_atlas(classes):
        summary["within_systems"] = {
            "errors": int(wrong["confusable"].sum()),
            NONE_FOUND: int((wrong["confusable"] == 1)[wrong["cause"] == NONE_FOUND].sum()),
            **_share(wrong["confusable"] == 1, wrong),
            "expected": _within_by_chance(wrong["class"], classes),
        }
    return summary


def _contrast(tested: pd.DataFrame, cause: str) -> dict[str, float]:
    """Return how often a cause is named among errors and among correct predictions."""
    named = (tested["cause"] == cause).to_numpy()
    is_wrong = (tested["class"] != tested["predicted"]).to_numpy()
    found: dict[str, float] = {}
    for prefix, rows in (("", is_wrong), ("correct_", ~is_wrong)):
        shares = _share(pd.Series(named[rows]), tested[rows])
        found |= {f"{prefix}{key}": value for key, value in shares.items()}
    columns = np.column_stack([named & is_wrong, is_wrong, named & ~is_wrong, ~is_wrong])
    low, high = statistic_interval(columns.astype(float), tested, _difference, bounds=(-1.0, 1.0))
    return {
        "errors": int((named & is_wrong).sum()),
        "correct": int((named & ~is_wrong).sum()),
        **found,
        "difference": float(_difference(columns.sum(axis=0).astype(float))),
        "difference_low": low,
        "difference_high": high,
    }


def _difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share among errors less that among correct predictions, of sums (..., 4)."""
    errors, correct = np.maximum(sums[..., 1], 1), np.maximum(sums[..., 3], 1)
    return sums[..., 0] / errors - sums[..., 2] / correct


def _within_by_chance(actual: pd.Series, classes: Sequence[str]) -> float:
    """Return the share of errors within organ systems if all wrong classes were equally likely."""
    sizes = pd.Series([SYSTEMS[name] for name in classes]).value_counts()
    partners = actual.map(SYSTEMS).map(sizes) - 1
    return float(partners.mean() / max(len(classes) - 1, 1)) if len(actual) else 0.0


def _share(hits: pd.Series, rows: pd.DataFrame) -> dict[str, float]:
    if not len(rows):
        return {"share": 0.0, "low": 0.0, "high": 0.0}
    low, high = share_interval(hits, rows)
    return {"share": float(hits.mean()), "low": low, "high": high}


def count_refused(images: pd.DataFrame) -> dict[str, float]:
    """Return how many images are so far from training, by `distance`, that `predict` refuses them.

    With the share of all images and its interval.
    """
    refused = images["distance"] > 1
    return {"n": len(images), "refused": int(refused.sum()), **_share(refused, images)}
