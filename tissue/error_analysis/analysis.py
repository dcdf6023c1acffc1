"""The error analysis as a whole, but for Grad-CAM: tables in, tables out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tissue.common.files import write_table
from tissue.data.index import Dataset
from tissue.error_analysis.causes import (
    MOST,
    Quality,
    evidence,
    fit_quality,
    measure_images,
    name_cause,
)
from tissue.error_analysis.space import SMALLEST, fit_space, nearest_images
from tissue.error_analysis.summary import count_suspects, summarise_causes
from tissue.error_analysis.suspects import out_of_sample, suspect_labels
from tissue.error_analysis.table import (
    ERROR_COLUMNS,
    MEASURES,
    NEIGHBOUR_COLUMNS,
    NONE_FOUND,
    error_sentence,
)
from tissue.metrics.intervals import Sampling


class Analysis(NamedTuple):
    """The tables of errors and of suspect labels, and the summary."""

    errors: pd.DataFrame
    suspects: pd.DataFrame
    summary: dict[str, Any]


class Images(NamedTuple):
    """Training images, and all others with what was measured on them, whatever the model."""

    train: pd.DataFrame
    others: pd.DataFrame  # `split` is val or test; row i is point i
    points: NDArray[np.float64]
    known: NDArray[np.float64]  # points of training
    suspects: pd.DataFrame


def analyse(
    predictions: Mapping[str, pd.DataFrame],
    parts: Mapping[str, Dataset],
    embed: Path,
    *,
    classes: Sequence[str],
    sampling: Sampling,
) -> Analysis:
    """Find out why each test image was misclassified.

    Correct predictions of validation and test, which no model was trained on, say what is usual.

    Args:
        predictions: by model, as from `prediction_table`, for all parts.
        parts: training, validation and test part, of which the tables are read.
        embed: the folder that `embed` wrote.
        classes: all class names.
        sampling: of donors, for the intervals; its seed is also that of the folds.
    """
    tables = {name: part.index for name, part in parts.items()}
    # One thread: more of them add in another order, which changes the last digits.
    with threadpool_limits(1):
        images = examine(tables, embed, classes=classes, seed=sampling.seed)
    quality = fit_quality(images.train)
    errors, summary = [], {}
    for model, table in sorted(predictions.items()):
        named = explain(images.others, table, quality, classes)
        tested = named[named["split"] == "test"]
        summary[model] = summarise_causes(tested, classes, sampling=sampling)
        wrong = tested[tested["class"] != tested["predicted"]]
        errors.append(_rows(model, wrong, images, quality))
    summary["suspects"] = count_suspects(images.suspects, tables)
    order = ["model", "class", "id"]
    every = pd.concat(errors).sort_values(order, ignore_index=True)
    return Analysis(every[list(ERROR_COLUMNS)], images.suspects, summary)


def examine(
    tables: dict[str, pd.DataFrame], embed: Path, *, classes: Sequence[str], seed: int
) -> Images:
    """Measure what does not depend on a model."""
    space = fit_space(tables["train"], embed, seed=seed)
    placed = {part: space.place(table, part, embed) for part, table in tables.items()}
    distances = {part: distance for part, (_, distance) in placed.items() if part != "train"}
    points = np.concatenate([placed.pop(part)[0] for part in tables])
    before = len(tables["train"])  # which comes first
    probabilities = out_of_sample(points, tables, classes=len(classes), seed=seed)
    suspects = suspect_labels(tables, probabilities, classes)
    donors = set(tables["train"]["group"])
    others = [
        tables[part].assign(
            split=part,
            novelty=distances[part],
            label_probability=probabilities[part][np.arange(len(tables[part])), labels],
            suspect=tables[part]["id"].isin(suspects["id"]),
            unseen=~tables[part]["group"].isin(donors),
        )
        for part, labels in ((part, tables[part]["label"].to_numpy(int)) for part in distances)
    ]
    return Images(
        train=tables["train"],
        others=pd.concat(others, ignore_index=True),
        points=points[before:],
        known=points[:before],
        suspects=suspects,
    )


def explain(
    others: pd.DataFrame, predictions: pd.DataFrame, quality: Quality, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the images with a model's prediction, what was measured, and the cause to name."""
    answers = predictions[predictions["split"] != "train"].set_index("id").loc[others["id"]]
    table = others.assign(
        predicted=answers["predicted"].to_numpy(), confidence=answers["confidence"].to_numpy()
    )
    columns = [f"p_{name}" for name in classes]
    probabilities = answers[columns].to_numpy()
    own = probabilities[np.arange(len(table)), table["label"].to_numpy(int)]
    measured = measure_images(table, quality, classes)
    found = evidence(table, measured, classes)
    causes = [name_cause(row) for _, row in found.iterrows()]
    strengths = [
        0.0 if cause == NONE_FOUND else min(float(found[cause].iloc[row]), MOST)
        for row, cause in enumerate(causes)
    ]
    right = measured[(table["class"] == table["predicted"]).to_numpy()]
    as_extreme = np.zeros(len(table), int)
    for cause, rows in pd.Series(causes).groupby(causes).indices.items():
        if cause in measured:
            below = np.searchsorted(np.sort(right[cause]), measured[cause].to_numpy()[rows])
            as_extreme[rows] = len(right) - below
    values = {MEASURES[cause]: measured[cause] for cause in ("extreme_stain", "confusable_pair")}
    return table.assign(
        margin=table["confidence"] - own,
        cause=causes,
        strength=strengths,
        known=len(right),
        as_extreme=as_extreme,
        distance=table["novelty"],
        darker=measured["darker"],
        label_suspicion=1 - table["label_probability"],
        donor_unseen=table["unseen"].astype(int),
        **values,
    )


def _rows(model: str, wrong: pd.DataFrame, images: Images, quality: Quality) -> pd.DataFrame:
    """The rows of the table of errors of one model."""
    near = nearest_images(images.points[wrong.index], images.known, images.train)
    rows = wrong.reset_index(drop=True).assign(model=model)
    rows = pd.concat([rows, near], axis=1)
    labels = rows["label"].to_numpy(int)
    rows["usual_tissue"] = np.exp(quality.usual[labels, 0]) - SMALLEST
    names = images.train.set_index("id")["class"]
    same = [near[column].map(names) == rows["class"] for column in NEIGHBOUR_COLUMNS]
    rows["agreeing"] = np.sum(same, axis=0)
    rows["stain_side"] = np.where(rows["darker"], "darker", "paler")
    rows["sentence"] = [error_sentence(row) for row in rows.to_dict("records")]
    rows["confusable"] = rows["confusable"].astype("Int64")
    return rows


def write_analysis(
    analysis: Analysis, shown: pd.DataFrame, heat: NDArray[np.uint8], folder: Path
) -> None:
    """Write errors, the heat maps of those shown, and the suspect labels into a folder."""
    write_table(analysis.errors, folder / "errors.csv")
    write_table(analysis.suspects, folder / "suspects.csv")
    write_table(shown[list(SHOWN_COLUMNS)], folder / "gradcam.csv")
    np.save(folder / "gradcam.npy", heat)


SHOWN_COLUMNS = ("model", "id")  # of gradcam.csv: row i has map i


def shown_errors(errors: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most `most` errors, in their order, with row numbers of their own.

    Each class of each model keeps its share, of which those are taken that were made with most
    confidence.

    Args:
        errors: a row an error: `model`, `class`, `id` and `confidence`.
        most: how many.
    """
    surest = errors.sort_values(["confidence", "id"], ascending=[False, True])
    alike = surest.groupby(["model", "class"])["id"]
    share = (alike.cumcount() + 0.5) / alike.transform("size")
    rows = share.sort_index().sort_values(kind="stable").index[:most]
    return errors.loc[rows.sort_values()].reset_index(drop=True)
