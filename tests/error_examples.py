"""Results of the error analysis in the form that `evaluate` writes, from invented numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tissue.common.files import write_json, write_table
from tissue.error_analysis.summary import MEASURES, describe_confusions
from tissue.error_analysis.table import (
    CAUSES,
    ERROR_COLUMNS,
    HEAT_SIDE,
    NEIGHBOUR_COLUMNS,
    NONE_FOUND,
    SHOWN_COLUMNS,
    SUSPECT_COLUMNS,
)

PRIMES = (2, 3, 5, 7, 11)


def write_errors(
    root: Path, tested: dict[str, pd.DataFrame], train: pd.DataFrame, *, seed: int = 3
) -> pd.DataFrame:
    """Write errors.csv, suspects.csv, gradcam.{csv,npy} and metrics/errors.json below `root`.

    Args:
        root: the top of the repository.
        tested: by model, one row per test image: id, class, predicted.
        train: training images, from which the neighbours are drawn: id, class, group.
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
    folder.mkdir(parents=True, exist_ok=True)
    write_table(errors, folder / "errors.csv")
    heat = rng.integers(0, 256, (len(errors), 2, HEAT_SIDE, HEAT_SIDE), dtype=np.uint8)
    branches = {name: rng.normal(size=len(errors)) for name in ("whole", "crops")}
    shown = errors.assign(**branches)
    shown.loc[shown["model"] == "scratch", list(branches)] = np.nan
    write_table(shown[list(SHOWN_COLUMNS)], folder / "gradcam.csv")
    np.save(folder / "gradcam.npy", heat)
    suspects = train.head(3)[["id", "class"]].assign(split="train", quality=[0.01, 0.02, 0.05])
    suspects["suggested"] = suspects["class"].to_numpy()[::-1]
    write_table(suspects[list(SUSPECT_COLUMNS)], folder / "suspects.csv")
    summary: dict[str, Any] = {model: _summary(errors, model, t) for model, t in tested.items()}
    sizes = {"train": len(train), "val": 144, "test": len(next(iter(tested.values())))}
    summary["suspects"] = {split: {"images": n, "suspects": 3} for split, n in sizes.items()}
    write_json(summary, root / "metrics/errors.json")
    _write_confused(folder, errors, tested)
    return errors


def _write_confused(folder: Path, errors: pd.DataFrame, tested: dict[str, pd.DataFrame]) -> None:
    """Write what `describe_confusions` makes of the errors, and of correct ones without a cause."""
    explained = {}
    for model, table in tested.items():
        mine = errors[errors["model"] == model].set_index("id")["cause"]
        numbers = np.arange(len(table), dtype=float)
        measures = {
            name: (numbers * prime) % 17 for name, prime in zip(MEASURES, PRIMES, strict=True)
        }
        explained[model] = table.assign(
            group=numbers // 3, cause=table["id"].map(mine).fillna(NONE_FOUND), **measures
        )
    confused = describe_confusions(explained)
    write_table(confused.causes, folder / "confused_causes.csv")
    write_table(confused.measures, folder / "confused_measures.csv")


def _row(
    model: str, error: dict[Any, Any], train: pd.DataFrame, rng: np.random.Generator
) -> dict[str, Any]:
    near = train.sample(len(NEIGHBOUR_COLUMNS), random_state=int(rng.integers(1000)))
    # All donors of the examples are new, so none is a cause.
    causes = [*(one for one in CAUSES if one != "donor_unseen"), NONE_FOUND]
    cause = causes[int(rng.integers(len(causes)))]
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
    counts = {cause: int((mine["cause"] == cause).sum()) for cause in (*CAUSES, NONE_FOUND)}
    return {
        "images": len(table),
        "errors": len(mine),
        "causes": {
            cause: _cause(count, count / max(len(mine), 1)) for cause, count in counts.items()
        },
        "within_systems": {
            "errors": int(mine["confusable"].sum()),
            NONE_FOUND: int(mine["confusable"][mine["cause"] == NONE_FOUND].sum()),
            "expected": 0.05,
        }
        | _interval(float(mine["confusable"].mean()) if len(mine) else 0.0),
    }


def _cause(count: int, share: float) -> dict[str, float]:
    correct = {f"correct_{key}": value for key, value in _interval(0.01).items()}
    difference = share - 0.01
    return {
        "errors": count, "correct": 3, **_interval(share), **correct,
        "difference": difference,
        "difference_low": difference - 0.05, "difference_high": difference + 0.05,
    }  # fmt: skip


def _interval(share: float) -> dict[str, float]:
    values = {"share": share, "low": share - 0.05, "high": share + 0.05}
    return {name: min(1.0, max(0.0, value)) for name, value in values.items()}
