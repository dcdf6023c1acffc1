"""How often each cause is found, among errors and among correct predictions, and by confusion.

A cause explains errors only if it is more frequent among them than among correct predictions.
Intervals are by donor.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.names import SYSTEMS, is_atlas
from tissue.data.index import QUALITY
from tissue.error_analysis.table import CAUSES, NONE_FOUND
from tissue.metrics.intervals import share_interval, statistic_interval
from tissue.metrics.ranking import area_under_roc

LEAST = 5  # errors of a confusion
MEASURES = (*QUALITY, "distance")
CAUSE_COLUMNS = (
    "model", "actual", "predicted", "cause", "errors", "of_errors", "low", "high", "correct",
    "of_correct", "correct_low", "correct_high",
)  # fmt: skip
MEASURE_COLUMNS = (
    "model", "actual", "predicted", "measure", "wrong", "right", "area", "low", "high",
)  # fmt: skip


def summarise_causes(tested: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return the summary of one model, nested as in `metrics/errors.json`.

    `tested` has the class, predicted, group, cause and confusable of each test image. The cause of
    a correct prediction is the one that would be named if it were an error.
    """
    wrong = tested[tested["class"] != tested["predicted"]]
    summary: dict[str, Any] = {
        "images": len(tested),
        "errors": len(wrong),
        "causes": {cause: _shares_by_outcome(tested, cause) for cause in (*CAUSES, NONE_FOUND)},
    }
    if is_atlas(classes):
        summary["within_systems"] = {
            "errors": int(wrong["confusable"].sum()),
            NONE_FOUND: int((wrong["confusable"] == 1)[wrong["cause"] == NONE_FOUND].sum()),
            **_share(wrong["confusable"] == 1, wrong),
            "expected": _within_by_chance(wrong["class"], classes),
        }
    return summary


def _shares_by_outcome(tested: pd.DataFrame, cause: str) -> dict[str, float]:
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


class Confused(NamedTuple):
    """Two tables: rows by confusion and cause, and by confusion and measure."""

    causes: pd.DataFrame
    measures: pd.DataFrame


def describe_confusions(explained: dict[str, pd.DataFrame]) -> Confused:
    """Compare the errors of each confusion with at least five with correct images of that class.

    Args:
        explained: by model, the test images with class, predicted, group, cause, the quality
            measures and distance, see `explain_predictions`.

    Returns:
        Of each cause, how often it is named for errors and for correct predictions, with Wilson's
        intervals. Of each measure, both medians, and the share of pairs of an error and a correct
        prediction in which the error has more (area under the ROC curve), with its interval.
    """
    causes, measures = list[dict[str, Any]](), list[dict[str, Any]]()
    for model, tested in explained.items():
        wrong = tested[tested["class"] != tested["predicted"]]
        for (actual, predicted), errors in wrong.groupby(["class", "predicted"]):
            if len(errors) < LEAST:
                continue
            key = {"model": model, "actual": actual, "predicted": predicted}
            right = tested[(tested["class"] == actual) & (tested["predicted"] == actual)]
            causes += [
                key | _contrast(errors, right, cause)
                for cause in (*CAUSES, NONE_FOUND)
                if cause in {*errors["cause"]}
            ]
            measures += [key | _compare(errors, right, one) for one in MEASURES if len(right)]
    return Confused(
        pd.DataFrame(causes, columns=list(CAUSE_COLUMNS)),
        pd.DataFrame(measures, columns=list(MEASURE_COLUMNS)),
    )


def _contrast(errors: pd.DataFrame, right: pd.DataFrame, cause: str) -> dict[str, Any]:
    named, usual = (errors["cause"] == cause), (right["cause"] == cause)
    low, high = share_interval(named, errors)
    found = {
        "cause": cause, "errors": int(named.sum()), "of_errors": len(errors),
        "low": low, "high": high, "correct": int(usual.sum()), "of_correct": len(right),
    }  # fmt: skip
    if len(right):
        found["correct_low"], found["correct_high"] = share_interval(usual, right)
    return found


def _compare(errors: pd.DataFrame, right: pd.DataFrame, measure: str) -> dict[str, Any]:
    both = pd.concat([errors, right])
    area = area_under_roc(
        both[[measure]].to_numpy(float), np.arange(len(both))[:, None] < len(errors), both
    )
    medians = {"wrong": errors[measure].median(), "right": right[measure].median()}
    return {"measure": measure, **medians, "area": area.value, "low": area.low, "high": area.high}
