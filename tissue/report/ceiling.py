"""The accuracy that the phantom allows: three pairs of its classes are drawn to overlap."""

import math
from typing import Any

import pandas as pd

from tissue.common.names import MODEL_NAMES, MODELS
from tissue.metrics.intervals import share_interval
from tissue.phantom.latents import LATENTS, best_accuracy, partner
from tissue.report.formatting import Table, count, interval, percent
from tissue.report.reading import Inputs
from tissue.report.sentences import models_by_accuracy


def class_pairs(inputs: Inputs) -> list[tuple[str, str]]:
    """Return the pairs of classes drawn to overlap that have test images."""
    names = set(inputs.index["test"]["class"])
    return sorted({(min(name, partner(name)), max(name, partner(name))) for name in LATENTS
                   if name in names})  # fmt: skip


def ceiling_sentences(inputs: Inputs) -> str:
    """Return the accuracy that the phantom allows on this test set, and what the errors exceed."""
    counts = inputs.index["test"]["class"].value_counts().to_dict()
    best, number, pairs = best_accuracy(counts), sum(counts.values()), class_pairs(inputs)
    if not pairs:
        return ""
    least = (1 - best) * number
    said = (
        "Pairs of classes are drawn to overlap. A classifier that knew how each core was drawn "
        f"would be right in {percent(best)} of these {count(number)} images on average. "
        f"So a model must be expected to make at least {count(math.floor(least))} errors."
    )
    model = models_by_accuracy(inputs)[0]
    test = inputs.metrics[model]["test"]
    wrong = round(number * (1 - test["accuracy"]))
    if wrong <= least:
        return said
    # Expected errors over errors that the interval of the accuracy allows.
    low, high = (
        min(1.0, least / number / (1 - test[f"accuracy_{end}"])) for end in ("low", "high")
    )
    verdict = "does not explain most" if high < 0.5 else "explains only a part"
    return (
        f"{said} That is {percent(least / wrong)} (95% interval {interval(low, high)}) of the "
        f"{count(wrong)} errors of the {MODEL_NAMES[model]}. The overlap {verdict} of them."
    )


def pairs_table(inputs: Inputs) -> Table:
    """Return for each pair what is possible, and how often each model is right."""
    index, rows = inputs.index["test"], list[dict[str, Any]]()
    for pair in class_pairs(inputs):
        images = index[index["class"].isin(pair)]
        row = {
            "Pair": " / ".join(pair),
            "n": count(len(images)),
            "Possible on average": percent(best_accuracy(images["class"].value_counts().to_dict())),
        }
        for model in MODELS:
            answers = inputs.tested(model).set_index("id")["predicted"].loc[images["id"]]
            right = answers.to_numpy() == images["class"].to_numpy()
            low, high = share_interval(right, images)
            row[MODEL_NAMES[model]] = percent(right.mean())
            row[f"{MODEL_NAMES[model]}, 95% interval"] = interval(low, high)
        rows.append(row)
    return Table("Test images classified correctly, of pairs drawn to overlap", pd.DataFrame(rows))
