"""The table of a sweep: a row for each experiment and model that it changed."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from stages.sweeping.experiments import Experiment
from stages.sweeping.grid import Point, models_of

TEST = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "ece")


def rows_of_experiment(
    point: Point, experiment: Experiment, metrics: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a row for each model that the parameters of a point change.

    `seconds` are those of the training and, for the pretrained model, of the embedding, where they
    ran; what came from the cache costs nothing and adds nothing, so `ran` names what did run.
    """
    rows = []
    for model in models_of(list(point)):
        values = metrics[f"metrics/{model}.json"]
        needed = [f"train_{model}", *(["embed"] if model == "pretrained" else [])]
        ran = [stage for stage in sorted(needed) if stage in experiment.seconds]
        rows.append(
            {
                "experiment": experiment.name,
                **point,
                "model": model,
                "val_accuracy": values["val"]["accuracy"],
                **{f"test_{name}": values["test"][name] for name in TEST},
                "parameters": values["parameters"],
                "seconds": round(sum(experiment.seconds[stage] for stage in ran), 1)
                if ran
                else None,
                "ran": " ".join(ran),
            }
        )
    return rows


def sweep_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows, best accuracy on validation first within each model."""
    table = pd.DataFrame(rows)
    return table.sort_values(
        ["model", "val_accuracy"], ascending=[True, False], kind="stable", ignore_index=True
    )
