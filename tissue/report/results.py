"""Tables of the results: measures, confusions and errors of both models, and overlap."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tissue.common.names import MODEL_NAMES, MODELS, numbered
from tissue.figures.confusion import confusion_counts
from tissue.report.data import group_word
from tissue.report.formatting import (
    MEASURES,
    SPLIT_NAMES,
    Bar,
    Table,
    count,
    decimal,
    interval,
    measure_interval,
    measures_of,
    p_value,
    percent,
    percentage_points,
    rounded,
)
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES, cause_names
from tissue.report.sentences import models_by_accuracy, overlap_of

ERRORS_SHOWN = 12  # in the table for readers without a script
SUSPECTS_SHOWN = 20
SPACES = {"features": "pretrained features", "pixels": "raw pixels"}
OVERLAP_NAMES = {
    "mixing": "Mixing of nearest neighbours (1: as by chance)",
    "two_sample": "Classifier of test against training (area under ROC)",
    "frechet": "Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance",
}


def results_table(inputs: Inputs) -> Table:
    """Return all measures of both models, each with its interval."""
    metrics = [inputs.metrics[model] for model in MODELS]
    rows = [
        _result_row(
            f"Accuracy, {SPLIT_NAMES[name]} (n = {count(len(index))})",
            [one[name] for one in metrics], "accuracy", percent,
        )
        for name, index in inputs.index.items()
    ]  # fmt: skip
    tests = [inputs.metrics[model]["test"] for model in MODELS]
    _, *titles = measures_of(tests[0], inputs.classes).items()  # accuracy has its rows
    rows += [_result_row(title, tests, key, MEASURES[key][1]) for key, title in titles]
    rows.append(_result_row("Parameters", metrics, "parameters", count))
    head = ["Measure"]
    for model in MODELS:
        head += [MODEL_NAMES[model], "95% interval"]
    images, groups = tests[0]["n"], inputs.metrics["comparison"]["test"]["donors"]
    caption = (
        f"Both models, on the {numbered(images, 'test image')} of "
        f"{numbered(groups, group_word(inputs))} unless the row says otherwise"
    )
    return Table(caption, pd.DataFrame(rows, columns=head))


def _result_row(
    title: str, metrics: Sequence[dict[str, Any]], key: str, write: Callable[[Any], str]
) -> list[str]:
    row = [title]
    for values in metrics:
        row += [write(values[key]), measure_interval(values, key, write)]
    return row


def baseline_count(inputs: Inputs) -> int:
    """Return how many test images the most frequent class has."""
    return int(inputs.index["test"]["class"].value_counts().max())


def paired_table(inputs: Inputs) -> Table:
    """Return how many test images both models, one or none classify correctly."""
    paired = {key: f"{value:,}" for key, value in inputs.metrics["comparison"]["test"].items()}
    cells = {
        "": ["scratch correct", "scratch wrong"],
        "pretrained correct": [paired["both_right"], paired["only_pretrained"]],
        "pretrained wrong": [paired["only_scratch"], paired["both_wrong"]],
    }
    return Table(f"The same {paired['n']} test images, by which model is correct", cells)


def mcnemar(inputs: Inputs) -> str:
    """Return the p-value of McNemar's test, `p = 0.31`."""
    return p_value(inputs.metrics["comparison"]["test"]["p_value_mcnemar"])


def recall_table(inputs: Inputs) -> Table:
    """Return the recall of each class, and what the better model mistakes it for."""
    best = models_by_accuracy(inputs)[0]
    counts = test_counts(inputs, best)
    groups = inputs.index["test"].groupby("class")["group"].nunique()
    columns: dict[str, Any] = {
        "Class": inputs.classes,
        "n": map(count, counts.sum(axis=1)),
        f"{group_word(inputs)}s".capitalize(): groups.reindex(inputs.classes, fill_value=0).map(
            count
        ),
    }
    for model in MODELS:
        test = inputs.metrics[model]["test"]
        recall = test["recall"]
        columns[MODEL_NAMES[model]] = [
            Bar(percent(recall[name]), recall[name], model) if name in recall else "no image"
            for name in inputs.classes
        ]
        columns[f"{MODEL_NAMES[model]}, 95% interval"] = [
            interval(test["recall_low"].get(name), test["recall_high"].get(name))
            for name in inputs.classes
        ]
    wrong = f"{MODEL_NAMES[best]}, most frequent errors"
    columns[wrong] = [_mistaken_for(counts, row, inputs.classes) for row in range(len(counts))]
    caption = "Recall: the share of each class's test images that is classified correctly"
    return Table(caption, columns, texts=[wrong])


def _mistaken_for(counts: np.ndarray, row: int, names: Sequence[str]) -> str:
    """Return the two most frequent wrong predictions of a class, with their counts."""
    order = [i for i in np.argsort(-counts[row], kind="stable") if i != row and counts[row, i]]
    return ", ".join(f"{names[i]} {counts[row, i]}" for i in order[:2])


def test_counts(inputs: Inputs, model: str) -> np.ndarray:
    """Return the confusion matrix of a model on the test images, int64 (K, K)."""
    tested = inputs.tested(model)
    return confusion_counts(tested["class"], tested["predicted"], inputs.classes)


def confusion_rows(inputs: Inputs, model: str) -> pd.DataFrame:
    """Return the confusions of a model, most frequent first: actual, predicted, count_ and n."""
    rows = inputs.confusions[inputs.confusions["model"] == model]
    return rows.rename(columns={"count": "count_"})  # a tuple has a method of that name


def causes_table(inputs: Inputs) -> Table:
    """Return how often each cause is named for errors, and would be for correct predictions."""
    head, rows = ["Cause"], []
    for model in MODELS:
        errors = inputs.metrics["errors"][model]["errors"]
        correct = inputs.metrics["errors"][model]["images"] - errors
        head += [
            f"{MODEL_NAMES[model]}, of {numbered(errors, 'error')} (95% interval)",
            f"of {count(correct)} correct", "difference, points",
        ]  # fmt: skip
    for cause, name in cause_names(inputs).items():
        row = [name]
        for model in MODELS:
            one = inputs.metrics["errors"][model]["causes"][cause]
            shares = [
                f"{write(one[key])} ({interval(one[f'{prefix}low'], one[f'{prefix}high'], write)})"
                for key, prefix, write in (
                    ("share", "", percent),
                    ("correct_share", "correct_", percent),
                    ("difference", "difference_", percentage_points),
                )
            ]
            row += [f"{count(one['errors'])}: {shares[0]}", *shares[1:]]
        rows.append(row)
    caption = (
        "The cause named for each error, one each, and how often it would be named for images that "
        "the model classifies correctly"
    )
    return Table(caption, pd.DataFrame(rows, columns=head))


def confident_errors_table(inputs: Inputs) -> Table:
    """Return the errors made with the highest confidence."""
    errors = inputs.errors.sort_values(["confidence", "model", "id"], ascending=[False, True, True])
    shown = errors.head(ERRORS_SHOWN)
    cells = {
        "Image": shown["id"],
        "Model": shown["model"].map(MODEL_NAMES),
        "Actual": shown["class"],
        "Predicted": shown["predicted"],
        "Confidence": shown["confidence"].map(percent),
        "Cause": shown["cause"].map(CAUSE_NAMES),
    }
    return Table("Most confident errors", cells, texts=["Model", "Actual", "Predicted", "Cause"])


def suspects_table(inputs: Inputs) -> Table:
    """Return images whose label the rest of the data contradicts, most suspect first."""
    shown = inputs.suspects.head(SUSPECTS_SHOWN)
    cells = {
        "Image": shown["id"],
        "Split": shown["split"].map(SPLIT_NAMES),
        "Label": shown["class"],
        "Looks like": shown["suggested"],
        "Label quality, 0 to 1": shown["quality"].map(decimal),
    }
    caption = f"Labels to check, {len(shown)} of {count(len(inputs.suspects))}"
    return Table(caption, cells, texts=["Split", "Label", "Looks like"])


def overlap_table(inputs: Inputs) -> Table:
    """Return the three statistics of overlap in both spaces, beside those of random splits."""
    rows = [
        {
            "Statistic": f"{OVERLAP_NAMES[statistic]}, {name}",
            "This split": rounded(measured["real"]),
            "Random splits": rounded(measured["random_mean"]),
            "95% range": interval(measured["random_low"], measured["random_high"], rounded),
            "p (one-sided)": p_value(measured["p_value"])[2:].removeprefix("=").strip(),
        }
        for space, name in SPACES.items()
        for statistic, measured in overlap_of(inputs.metrics["tsne"], space).items()
    ]
    splits = count(inputs.metrics["tsne"]["random_splits"])
    return Table(f"Distance between test and training images, beside {splits} random splits", rows)
