"""Tables of what the two models do on the test images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tissue.common.names import MODELS, SPLITS, count_joined
from tissue.figures.confusion import confusion_counts
from tissue.report.formatting import PART_NAMES, Bar, Table, count, decimal, percent
from tissue.report.reading import Inputs
from tissue.report.sentences import MODEL_NAMES, best_model

CONFUSIONS_SHOWN = 10  # of each model

# Measures of the test set: key, name, how it is written. A key that is not there has no row.
MEASURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("accuracy_10_tissues", "Accuracy over {tissues} tissues", percent),
    ("accuracy_8_systems", "Accuracy over {systems} organ systems", percent),
    ("top3_accuracy", "Top-3 accuracy", percent),
    ("balanced_accuracy", "Balanced accuracy", percent),
    ("macro_f1", "Macro F1", decimal),
    ("kappa", "Cohen\N{RIGHT SINGLE QUOTATION MARK}s kappa", decimal),
    ("ece", "Calibration error (ECE, lower is better)", decimal),
)


def results_table(inputs: Inputs) -> Table:
    """Scratch beside pretrained; a measure that neither has is left out."""
    measured = [inputs.metrics[model] for model in MODELS]
    rows = [
        _result_row(
            f"Accuracy, {PART_NAMES[part]} (n = {count(len(inputs.index[part]))})",
            [one.get(part, {}) for one in measured],
            "accuracy",
            percent,
        )
        for part in SPLITS
    ]
    tests = [
        {**one.get("test", {}), **_coarse_intervals(inputs, model)}
        for model, one in zip(MODELS, measured, strict=True)
    ]
    joined = count_joined(inputs.classes)
    rows += [_result_row(name.format(**joined), tests, key, write) for key, name, write in MEASURES]
    rows.append(_result_row("Parameters", measured, "parameters", count))
    head = ["Measure"]
    for model in MODELS:
        head += [MODEL_NAMES[model], "95% interval"]
    return Table(
        "Both models, on the test images unless the row says otherwise",
        head,
        [row for row in rows if any(row[1:])],
    )


def _coarse_intervals(inputs: Inputs, model: str) -> dict[str, float]:
    """Intervals of the accuracy over tissues and systems, which come with the error analysis."""
    levels = {"tissues": "accuracy_10_tissues", "systems": "accuracy_8_systems"}
    measured = inputs.metrics["errors"][model]["accuracy"]
    return {
        f"{key}_{end}": measured[level][end]
        for level, key in levels.items()
        if level in measured and key in inputs.metrics[model]["test"]
        for end in ("low", "high")
    }


def _result_row(
    name: str, measured: Sequence[dict[str, Any]], key: str, write: Callable[[Any], str]
) -> list[str]:
    """The measure of each model and its interval; empty where it was not measured."""
    row = [name]
    for metrics in measured:
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        row.append(write(metrics[key]) if key in metrics else "")
        row.append("" if low is None or high is None else f"{write(low)} to {write(high)}")
    return row


def paired_table(inputs: Inputs) -> Table:
    """Right and wrong of both models on the same test images."""
    paired = inputs.metrics["comparison"]["test"]
    return Table(
        f"The same {count(paired['n'])} test images, by which model names them right",
        ["", "pretrained right", "pretrained wrong"],
        [
            ["scratch right", count(paired["both_right"]), count(paired["only_scratch"])],
            ["scratch wrong", count(paired["only_pretrained"]), count(paired["both_wrong"])],
        ],
    )


def recall_table(inputs: Inputs) -> Table:
    """Recall of each class, and what the better model takes it for when wrong."""
    best = best_model(inputs)
    counts = test_counts(inputs, best)
    rows: list[list[str | Bar]] = []
    for position, name in enumerate(inputs.classes):
        cells: list[str | Bar] = [name, count(counts[position].sum())]
        for model in MODELS:
            share = inputs.metrics[model]["test"].get("recall", {}).get(name)
            cells.append("no image" if share is None else Bar(percent(share), share, model))
        rows.append([*cells, _taken_for(counts, position, inputs.classes)])
    return Table(
        "Recall: the share of each class's test images that is named right",
        ["Class", "n", *(MODEL_NAMES[model] for model in MODELS), f"{MODEL_NAMES[best]} also says"],
        rows,
        texts=(4,),
    )


def _taken_for(counts: np.ndarray, row: int, names: Sequence[str]) -> str:
    """The two most frequent wrong answers for a class, with their counts."""
    wrong = counts[row].copy()
    wrong[row] = 0
    order = [i for i in np.argsort(-wrong, kind="stable")[:2] if wrong[i]]
    return ", ".join(f"{names[i]} {wrong[i]}" for i in order)


def test_counts(inputs: Inputs, model: str) -> np.ndarray:
    """Confusion counts of a model on the test images, int64 (K, K)."""
    tested = inputs.tested(model)
    return confusion_counts(tested["class"], tested["predicted"], inputs.classes)


def confusions_table(inputs: Inputs, model: str) -> Table:
    """The largest confusions of a model."""
    rows = inputs.confusions
    rows = rows[rows["model"] == model].head(CONFUSIONS_SHOWN)
    return Table(
        f"Largest confusions, {MODEL_NAMES[model]}",
        ["Actual", "Taken for", "Images", "of", "Share"],
        [
            [row.actual, row.predicted, count(row.number), count(row.n), percent(row.share)]
            for row in rows.rename(columns={"count": "number"}).itertuples()
        ],
        texts=(1,),
    )
