"""Which share of the errors each cause explains, with intervals by donor."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.error_analysis.table import CAUSES, NONE_FOUND
from tissue.metrics.intervals import Sampling, share_interval


def summarise_causes(
    tested: pd.DataFrame, classes: Sequence[str], *, sampling: Sampling
) -> dict[str, Any]:
    """Return the summary of one model, nested as in `metrics/errors.json`.

    `tested` has the class, predicted, group and cause of each test image. The cause of a correct
    prediction is the one that would be named if it were an error.
    """
    atlas = is_atlas(classes)
    levels: dict[str, Mapping[str, str]] = {"classes": {name: name for name in classes}}
    if atlas:
        levels |= {"tissues": TISSUES, "systems": SYSTEMS}
    accuracy = {
        level: _share(
            tested["class"].map(names) == tested["predicted"].map(names), tested, sampling
        )
        for level, names in levels.items()
    }
    is_right = tested["class"] == tested["predicted"]
    wrong, correct = tested[~is_right], tested[is_right]
    causes = {
        cause: {
            "errors": int((wrong["cause"] == cause).sum()),
            **_share(wrong["cause"] == cause, wrong, sampling),
            "correct_share": float((correct["cause"] == cause).mean()) if len(correct) else 0.0,
        }
        for cause in (*CAUSES, NONE_FOUND)
        if cause != "confusable_pair" or atlas
    }
    return {
        "images": len(tested), "errors": len(wrong), "accuracy": accuracy, "causes": causes,
    }  # fmt: skip


def _share(hits: pd.Series, rows: pd.DataFrame, sampling: Sampling) -> dict[str, float]:
    if not len(rows):
        return {"share": 0.0, "low": 0.0, "high": 0.0}
    low, high = share_interval(hits, rows["group"], sampling=sampling)
    return {"share": float(hits.mean()), "low": low, "high": high}
