"""How often each cause is found, among errors and among correct predictions, and what measures say.

A cause explains errors only if it is more frequent among them than among correct predictions.
Intervals are by donor.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import scale

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.error_analysis.space import log_quality
from tissue.error_analysis.suspects import cross_validate
from tissue.error_analysis.table import CAUSES, NONE_FOUND
from tissue.metrics.intervals import share_interval, statistic_interval


def summarise_causes(tested: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return the summary of one model, nested as in `metrics/errors.json`.

    `tested` has the class, predicted, group, cause and confusable of each test image. The cause of
    a correct prediction is the one that would be named if it were an error.
    """
    atlas = is_atlas(classes)
    levels: dict[str, Mapping[str, str]] = {"classes": {name: name for name in classes}}
    if atlas:
        levels |= {"tissues": TISSUES, "systems": SYSTEMS}
    accuracy = {
        level: _share(tested["class"].map(names) == tested["predicted"].map(names), tested)
        for level, names in levels.items()
    }
    wrong = tested[tested["class"] != tested["predicted"]]
    summary: dict[str, Any] = {
        "images": len(tested),
        "errors": len(wrong),
        "accuracy": accuracy,
        "causes": {cause: _contrast(tested, cause) for cause in (*CAUSES, NONE_FOUND)},
    }
    if atlas:
        summary["within_systems"] = {
            "errors": int(wrong["confusable"].sum()),
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


def measures_alone(images: pd.DataFrame, classes: Sequence[str], *, seed: int) -> dict[str, float]:
    """Return the accuracy with which tissue, blur and both mean stains alone give the class.

    Cross-validated by donor on `images`, on which models were trained and validated. Chance is the
    share of the most frequent class.
    """
    points = scale(log_quality(images))
    probabilities = cross_validate(
        points, images["label"], images["group"], classes=len(classes), seed=seed
    )
    right = pd.Series(probabilities.argmax(axis=1) == images["label"].to_numpy())
    return {
        "n": len(images),
        **_share(right, images),
        "chance": float(images["label"].value_counts(normalize=True).max()),
    }
