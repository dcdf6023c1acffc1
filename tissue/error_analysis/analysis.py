"""The error analysis as a whole, except Grad-CAM: tables in, tables out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tissue.common.names import SYSTEMS, is_atlas
from tissue.data.index import QUALITY, Dataset
from tissue.error_analysis.causes import (
    MOST,
    Quality,
    find_evidence,
    fit_quality,
    measure_images,
    name_cause,
)
from tissue.error_analysis.recognition import observe, recognise
from tissue.error_analysis.space import SMALLEST, fit_space, nearest_images
from tissue.error_analysis.summary import (
    Confused,
    count_refused,
    describe_confusions,
    summarise_causes,
)
from tissue.error_analysis.suspects import out_of_fold_probabilities, suspect_labels
from tissue.error_analysis.table import (
    CAUSES,
    ERROR_COLUMNS,
    NEIGHBOUR_COLUMNS,
    NO_MORE_FREQUENT,
    error_sentence,
    is_more_frequent,
)
from tissue.metrics.intervals import FACTORS
from tissue.metrics.projection import Points
from tissue.training.novelty import Novelty

COLUMNS = ["id", "class", "label", "group", *FACTORS, *QUALITY]


class Analysis(NamedTuple):
    """The tables of errors, of suspect labels and of frequent confusions, and the summary."""

    errors: pd.DataFrame
    suspects: pd.DataFrame
    confused: Confused
    summary: dict[str, Any]


def analyse(
    predictions: Mapping[str, pd.DataFrame],
    datasets: Mapping[str, Dataset],
    embed: Path,
    novelty: Novelty,
    *,
    classes: Sequence[str],
    seed: int,
) -> Analysis:
    """Find out why each test image was misclassified, beside correct ones of validation and test.

    Args:
        predictions: by model, as from `prediction_tables`.
        datasets: training, validation and test, of which the tables are read.
        embed: the folder that `embed` wrote.
        novelty: the distance from training.
        classes: all class names.
        seed: of the folds.
    """
    images = _join(datasets)
    # One thread: several add in another order, which changes the last digits.
    with threadpool_limits(1):
        images, points, suspects = measure_images_alone(
            images, embed, novelty, classes=classes, seed=seed, crops=_have_crops(datasets)
        )
    train = images[images["split"] == "train"]
    quality, errors, summary = fit_quality(train), [], dict[str, Any]()
    others, tests = images.drop(train.index), dict[str, pd.DataFrame]()
    summary["refused"] = {str(name): count_refused(each) for name, each in others.groupby("split")}
    for model, table in sorted(predictions.items()):
        observed = others.join(observe(images, points, table, classes))
        explained = explain_predictions(observed, table, quality, classes)
        tested = tests[model] = explained[explained["split"] == "test"]
        summary[model] = summarise_causes(tested, classes)
        wrong = tested[tested["class"] != tested["predicted"]].assign(model=model)
        near = nearest_images(points[wrong.index], points[train.index], train)
        errors.append(describe_errors(wrong, near, train, unfounded=_unfounded(summary[model])))
    summary["suspects"] = _count_suspects(suspects, datasets)
    every = pd.concat(errors).sort_values(["model", "class", "id"], ignore_index=True)
    return Analysis(every[list(ERROR_COLUMNS)], suspects, describe_confusions(tests), summary)


def _join(datasets: Mapping[str, Dataset]) -> pd.DataFrame:
    tables = [dataset.index[COLUMNS].assign(split=name) for name, dataset in datasets.items()]
    return pd.concat(tables, ignore_index=True)


def _count_suspects(
    suspects: pd.DataFrame, datasets: Mapping[str, Dataset]
) -> dict[str, dict[str, int]]:
    found = suspects["split"].value_counts()
    return {
        name: {"images": len(dataset.index), "suspects": int(found.get(name, 0))}
        for name, dataset in datasets.items()
    }


def _unfounded(summary: Mapping[str, Any]) -> list[str]:
    return [cause for cause in CAUSES if not is_more_frequent(summary["causes"][cause])]


def _have_crops(datasets: Mapping[str, Dataset]) -> bool:
    return all(dataset.crops is not None for dataset in datasets.values())


def measure_images_alone(
    images: pd.DataFrame,
    embed: Path,
    novelty: Novelty,
    *,
    classes: Sequence[str],
    seed: int,
    crops: bool,
) -> tuple[pd.DataFrame, Points, pd.DataFrame]:
    """Measure what does not depend on a model.

    Returns:
        The images with the columns `distance` (from training), `label_probability`, `suspect`,
        `unseen` and those of `recognise`; their projected features; and the table of suspect
        labels.
    """
    train = images[images["split"] == "train"]
    space = fit_space(train, embed, novelty, seed=seed, crops=crops)
    points, distances = space.project(images, embed)
    probabilities = out_of_fold_probabilities(
        points["both"], images["label"], images["group"], classes=len(classes), seed=seed
    )
    suspects = suspect_labels(images, probabilities, classes)
    examined = images.assign(
        distance=distances,
        label_probability=probabilities[np.arange(len(images)), images["label"]],
        suspect=images["id"].isin(suspects["id"]),
        unseen=~images["group"].isin(train["group"]),
    )
    recognised = recognise(points, images, probabilities, classes=classes, seed=seed)
    return examined.join(recognised), points["both"], suspects


def explain_predictions(
    images: pd.DataFrame, predictions: pd.DataFrame, quality: Quality, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the images with a model's prediction, what was measured, and the cause to name."""
    answers = predictions.set_index("id").loc[images["id"]].set_index(images.index)
    table = images.assign(predicted=answers["predicted"], confidence=answers["confidence"])
    probabilities = answers[[f"p_{name}" for name in classes]].to_numpy()
    measured = measure_images(table, quality, classes)
    evidence = find_evidence(table, measured).to_dict("records")
    causes = [name_cause(row) for row in evidence]
    strengths = [
        min(row.get(cause, 0.0), MOST) for row, cause in zip(evidence, causes, strict=True)
    ]
    correct = measured[table["class"] == table["predicted"]]
    return table.assign(
        margin=table["confidence"] - probabilities[np.arange(len(table)), table["label"]],
        cause=causes,
        strength=strengths,
        stain=measured["extreme_stain"],
        stain_side=np.where(measured["darker"], "darker", "paler"),
        label_suspicion=measured["suspect_label"],
        confusable=_same_system(table, classes),
        donor_unseen=table["unseen"].astype(int),
        typical_tissue=np.exp(quality.medians[table["label"], 0]) - SMALLEST,
        correct=len(correct),
        exceeding=_count_exceeding(measured, correct, np.array(causes)),
    )


def _same_system(table: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    """Return 1 where true and predicted class are two of one organ system, missing if unknown."""
    if not is_atlas(classes):
        return pd.Series(pd.NA, table.index, "Int64")
    same = table["class"].map(SYSTEMS) == table["predicted"].map(SYSTEMS)
    return (same & (table["class"] != table["predicted"])).astype("Int64")


def _count_exceeding(
    measured: pd.DataFrame, correct: pd.DataFrame, causes: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Return how many correct predictions show the cause of each image at least as strongly."""
    counts = np.zeros(len(measured), np.int64)
    for cause in CAUSES:
        rows = causes == cause
        below = np.searchsorted(np.sort(correct[cause]), measured[cause][rows])
        counts[rows] = len(correct) - below
    return counts


def describe_errors(
    wrong: pd.DataFrame, near: pd.DataFrame, train: pd.DataFrame, *, unfounded: Sequence[str]
) -> pd.DataFrame:
    """Return the errors with their nearest training images, and a sentence on each.

    `unfounded` are causes that are no more frequent among errors, which the sentence then says.
    """
    rows = pd.concat([wrong.reset_index(drop=True), near], axis=1)
    classes = train.set_index("id")["class"]
    agreeing = [near[column].map(classes) == rows["class"] for column in NEIGHBOUR_COLUMNS]
    rows["agreeing"] = np.sum(agreeing, axis=0)
    rows["sentence"] = [
        error_sentence(row) + (NO_MORE_FREQUENT if row["cause"] in unfounded else "")
        for row in rows.to_dict("records")
    ]
    return rows
