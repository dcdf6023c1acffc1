"""Each frequent confusion: its causes, and in what its images differ from those of correct ones."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tissue.data.index import QUALITY
from tissue.error_analysis.table import CAUSES, NONE_FOUND
from tissue.metrics.intervals import share_interval
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


class Confused(NamedTuple):
    """Two tables: rows by confusion and cause, and by confusion and measure."""

    causes: pd.DataFrame
    measures: pd.DataFrame


def describe_confusions(explained: dict[str, pd.DataFrame]) -> Confused:
    """Compare the errors of each confusion with at least five with correct images of that class.

    Args:
        explained: by model, the test images with class, predicted, group, cause, the quality
            measures and distance, see `explain`.

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
