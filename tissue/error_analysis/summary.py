"""Which share of the errors each cause explains, with intervals by donor."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.error_analysis.table import CAUSES, NONE_FOUND
from tissue.metrics.intervals import Sampling, share_interval


def summarise_causes(
    named: pd.DataFrame, classes: Sequence[str], *, sampling: Sampling
) -> dict[str, Any]:
    """Return the summary of one model, nested as in `metrics/errors.json`.

    Args:
        named: a row a test image: `class`, `predicted`, `group`, and `cause`, also of the correct
            predictions, for which it says what would be named if they were errors.
        classes: all class names.
        sampling: of donors, for the intervals.
    """
    right = named["class"] == named["predicted"]
    wrong, correct = named[~right], named[right]
    levels: dict[str, Mapping[str, str]] = {"classes": {name: name for name in classes}}
    if is_atlas(classes):
        levels |= {"tissues": TISSUES, "systems": SYSTEMS}
    accuracy = {
        level: _share(named["class"].map(names) == named["predicted"].map(names), named, sampling)
        for level, names in levels.items()
    }
    causes = {
        cause: {
            "errors": int((wrong["cause"] == cause).sum()),
            **_share(wrong["cause"] == cause, wrong, sampling),
            "correct_share": float((correct["cause"] == cause).mean()) if len(correct) else 0.0,
        }
        for cause in (*CAUSES, NONE_FOUND)
        if cause != "confusable_pair" or is_atlas(classes)
    }
    return {
        "images": len(named), "errors": len(wrong), "accuracy": accuracy, "causes": causes,
    }  # fmt: skip


def _share(hits: pd.Series, rows: pd.DataFrame, sampling: Sampling) -> dict[str, float]:
    if not len(rows):
        return {"share": 0.0, "low": 0.0, "high": 0.0}
    low, high = share_interval(hits.to_numpy(float), rows["group"], sampling=sampling)
    return {"share": float(hits.mean()), "low": low, "high": high}


def count_suspects(
    suspects: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, int]]:
    """Return for each part the number of its images and of those with a suspect label."""
    return {
        part: {"images": len(table), "suspects": int((suspects["split"] == part).sum())}
        for part, table in tables.items()
    }
