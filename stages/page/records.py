"""What the script of the page works on: each image once, and each error with what explains it."""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import InputError
from stages.dataset.index import rows_of
from stages.errors.table import CAUSES, NEIGHBOUR_COLUMNS, NONE_FOUND
from stages.figures.theme import class_style
from stages.models.names import MODELS
from stages.page.numbers import count
from stages.page.reading import Inputs, shown_ids
from stages.page.tables import PART_NAMES
from stages.page.thumbnails import heat_layer, thumbnail, thumbnail_side
from stages.page.wording import MODEL_NAMES

CAUSE_NAMES = {
    "little_tissue": "little tissue",
    "blur": "blur",
    "extreme_stain": "extreme stain",
    "unlike_training": "unlike anything in training",
    "suspect_label": "suspect label",
    "confusable_pair": "confusable pair",
    "donor_unseen": "donor unseen in training",
    NONE_FOUND: "no measured cause",
}
# What Bokeh draws for matplotlib's markers; it has no filled x.
MARKERS = {
    "o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "inverted_triangle",
    "P": "plus", "X": "star",
}  # fmt: skip
assert set(CAUSE_NAMES) == {*CAUSES, NONE_FOUND}


def records(inputs: Inputs) -> dict[str, Any]:
    """Everything that can be pointed at: images as columns, errors as rows, names of both."""
    images = shown_images(inputs)
    side = thumbnail_side(len(images))
    styles = [class_style(position) for position in range(len(inputs.classes))]
    return {
        "classes": inputs.classes,
        "colours": [colour for colour, _ in styles],
        "markers": [MARKERS[marker] for _, marker in styles],
        "models": MODEL_NAMES,
        "parts": PART_NAMES,
        "causes": CAUSE_NAMES,
        "side": side,
        # What holds images together: the donor where it is known, else slide or near-duplicates.
        "group": "donor" if inputs.metrics["split"].get("group_rule") == "donor" else "group",
        "images": {
            "id": images["id"].tolist(),
            "part": images["part"].tolist(),
            "class": images["label"].tolist(),
            "group": images["group"].tolist(),
            "picture": [
                thumbnail(inputs.parts[part].images[row], side)
                for part, row in zip(images["part"], images["row"], strict=True)
            ],
            **_places(images, inputs.points),
            **_answers(images, inputs),
        },
        "errors": _errors(images, inputs),
        "every": sum(inputs.metrics["errors"][model]["errors"] for model in MODELS),
    }


def shown_images(inputs: Inputs) -> pd.DataFrame:
    """The images that the page can show: part, its row there, id, label and group."""
    ids = shown_ids(inputs.errors, inputs.points)
    frames = []
    for name, part in inputs.parts.items():
        (rows,) = part.index["id"].isin(ids).to_numpy().nonzero()
        chosen = part.index[["id", "label", "group"]].iloc[rows]
        frames.append(chosen.assign(part=name, row=rows))
    shown = pd.concat(frames, ignore_index=True)
    order = shown["part"].map({"test": 0, "train": 1, "val": 2})
    return shown.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def left_out(inputs: Inputs, known: dict[str, Any]) -> str:
    """A sentence on the test images and errors that the page has no room for, if there are any.

    Args:
        inputs: what the other stages handed on.
        known: its `records`.
    """
    tests, on_page = len(inputs.index["test"]), known["images"]["part"].count("test")
    errors = sum(inputs.metrics["errors"][model]["errors"] for model in MODELS)
    if on_page == tests and len(inputs.errors) == errors:
        return ""
    which = ": of each model and class the surest" if len(inputs.errors) < errors else ""
    return (
        f"Of {count(tests)} test images the page shows {count(on_page)}, and of "
        f"{count(errors)} errors {count(len(inputs.errors))}{which}. "
        "Numbers and tables are of all of them, where they do not say otherwise."
    )


def _places(images: pd.DataFrame, points: pd.DataFrame) -> dict[str, list[float | None]]:
    """Coordinates in the t-SNE, or null for an image that it left out."""
    placed = points.set_index("id").reindex(images["id"])
    return {
        axis: [None if pd.isna(value) else round(float(value), 2) for value in placed[axis]]
        for axis in ("x", "y")
    }


def _answers(images: pd.DataFrame, inputs: Inputs) -> dict[str, dict[str, list[Any]]]:
    answers: dict[str, list[Any]] = {}
    confidences: dict[str, list[Any]] = {}
    labels = {name: label for label, name in enumerate(inputs.classes)}
    for model in MODELS:
        frame = inputs.predictions[model]
        rows = frame.iloc[rows_of(images["id"], frame, what=f"data/predictions/{model}.csv")]
        answers[model] = [labels[name] for name in rows["predicted"]]
        confidences[model] = [round(float(value), 3) for value in rows["confidence"]]
    return {"answer": answers, "confidence": confidences}


def _errors(images: pd.DataFrame, inputs: Inputs) -> list[dict[str, Any]]:
    frame = inputs.errors
    if len(frame) != len(inputs.heat):
        raise InputError(
            "data/predictions: expected a Grad-CAM map for each error of gradcam.csv. Received: "
            f"{len(frame)} errors and {len(inputs.heat)} maps. Run `dvc repro evaluate`."
        )
    rows = rows_of(frame["id"], images, what="data/predictions/errors.csv")
    near = dict[str, NDArray[np.int64]]()
    for column in NEIGHBOUR_COLUMNS:
        found = (frame[column] != "").to_numpy()  # fewer than five, where training has fewer
        near[column] = np.full(len(frame), -1)
        near[column][found] = rows_of(
            frame.loc[found, column], images, what="data/predictions/errors.csv"
        )
    return [
        {
            "image": int(rows[i]),
            "model": frame["model"].iloc[i],
            "cause": frame["cause"].iloc[i],
            "margin": round(float(frame["margin"].iloc[i]), 3),
            "sentence": frame["sentence"].iloc[i],
            "near": [int(each[i]) for each in near.values() if each[i] >= 0],
            "heat": [heat_layer(heat) if heat.any() else None for heat in inputs.heat[i]],
        }
        for i in range(len(frame))
    ]


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element: `<` would end it, or start a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
