"""Results of the error analysis in the form that `evaluate` writes, from invented numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tissue.error_analysis.analysis import SHOWN_COLUMNS
from tissue.error_analysis.table import (
    CAUSES,
    ERROR_COLUMNS,
    HEAT_SIDE,
    NEIGHBOUR_COLUMNS,
    NONE_FOUND,
    SUSPECT_COLUMNS,
)


def write_errors(
    root: Path, tested: dict[str, pd.DataFrame], train: pd.DataFrame, *, seed: int = 3
) -> pd.DataFrame:
    """Write errors.csv, suspects.csv, gradcam.{csv,npy} and metrics/errors.json below `root`.

    Args:
        root: the top of the repository; `data/predictions` and `metrics` are there.
        tested: by model, a row a test image: id, class, predicted, confidence.
        train: training images, of which the neighbours are drawn: id, class, group.
        seed: of the invented numbers.

    Returns:
        The table of errors.
    """
    rng = np.random.default_rng(seed)
    rows = [
        _row(model, error, train, rng)
        for model, table in sorted(tested.items())
        for error in table[table["class"] != table["predicted"]]
        .sort_values(["class", "id"])
        .to_dict("records")
    ]
    errors = pd.DataFrame(rows, columns=list(ERROR_COLUMNS))
    errors = errors.sort_values(["model", "class", "id"], ignore_index=True)
    folder = root / "data/predictions"
    errors.to_csv(folder / "errors.csv", index=False, float_format="%.6g", lineterminator="\n")
    heat = rng.integers(0, 256, (len(errors), 2, HEAT_SIDE, HEAT_SIDE), dtype=np.uint8)
    errors[list(SHOWN_COLUMNS)].to_csv(folder / "gradcam.csv", index=False)
    np.save(folder / "gradcam.npy", heat)
    suspects = train.head(3)[["id", "class"]].assign(split="train", quality=[0.01, 0.02, 0.05])
    suspects["suggested"] = suspects["class"].to_numpy()[::-1]
    suspects[list(SUSPECT_COLUMNS)].to_csv(folder / "suspects.csv", index=False)
    summary: dict[str, Any] = {model: _summary(errors, model, t) for model, t in tested.items()}
    parts = {"train": len(train), "val": 144, "test": len(next(iter(tested.values())))}
    summary["suspects"] = {part: {"images": n, "suspects": 3} for part, n in parts.items()}
    (root / "metrics/errors.json").write_text(json.dumps(summary, indent=2, sort_keys=True))
    return errors


def _row(
    model: str, error: dict[Any, Any], train: pd.DataFrame, rng: np.random.Generator
) -> dict[str, Any]:
    near = train.sample(len(NEIGHBOUR_COLUMNS), random_state=int(rng.integers(1000)))
    cause = (*CAUSES, NONE_FOUND)[int(rng.integers(len(CAUSES) + 1))]
    return {
        "model": model,
        "id": error["id"],
        "class": error["class"],
        "predicted": error["predicted"],
        "confidence": 0.61,
        "margin": 0.32,
        "cause": cause,
        "strength": 0.0 if cause == NONE_FOUND else round(float(rng.uniform(2, 6)), 3),
        "sentence": f"Taken for {error['predicted']}: an invented reason.",
        "confusable": int(rng.random() < 0.5),
        "tissue_fraction": float(rng.uniform(0.02, 0.7)),
        "blur": float(rng.uniform(0.1, 0.5)),
        "stain": float(rng.uniform(0, 4)),
        "distance": float(rng.uniform(0.2, 0.9)),
        "label_suspicion": float(rng.uniform(0.5, 1)),
        "donor_unseen": 1,
        **dict(zip(NEIGHBOUR_COLUMNS, near["id"], strict=True)),
        "neighbour_classes": " ".join(near["class"]),
        "neighbour_groups": " ".join(near["group"].astype(str)),
    }


def _summary(errors: pd.DataFrame, model: str, table: pd.DataFrame) -> dict[str, Any]:
    mine = errors[errors["model"] == model]
    n = max(len(mine), 1)
    causes = {}
    for cause in (*CAUSES, NONE_FOUND):
        count = int((mine["cause"] == cause).sum())
        share = round(count / n, 4)
        low, high = max(0.0, share - 0.05), min(1.0, share + 0.05)
        causes[cause] = {
            "errors": count, "share": share, "low": low, "high": high, "correct_share": 0.01,
        }  # fmt: skip
    right = float((table["class"] == table["predicted"]).mean())
    levels = {"classes": right, "tissues": min(1.0, right + 0.1), "systems": min(1.0, right + 0.15)}
    return {
        "images": len(table),
        "errors": len(mine),
        "accuracy": {
            level: {"share": share, "low": max(0, share - 0.05), "high": min(1, share + 0.05)}
            for level, share in levels.items()
        },
        "causes": causes,
    }
