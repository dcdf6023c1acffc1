"""What the script of the page works on: each image once, and each error with what explains it."""

import base64
import io
import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.data.index import locate_rows
from tissue.error_analysis.table import CAUSES, HEAT_SIDE, NEIGHBOUR_COLUMNS, NONE_FOUND
from tissue.figures.theme import class_style
from tissue.report.formatting import PART_NAMES, count
from tissue.report.reading import Inputs, shown_ids
from tissue.report.sentences import MODEL_NAMES

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


def omitted_sentence(inputs: Inputs, known: dict[str, Any]) -> str:
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
        rows = frame.iloc[locate_rows(images["id"], frame, what=f"data/predictions/{model}.csv")]
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
    rows = locate_rows(frame["id"], images, what="data/predictions/errors.csv")
    near = dict[str, NDArray[np.int64]]()
    for column in NEIGHBOUR_COLUMNS:
        found = (frame[column] != "").to_numpy()  # fewer than five, where training has fewer
        near[column] = np.full(len(frame), -1)
        near[column][found] = locate_rows(
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


# Pixels of all thumbnails together; tissue takes about 0.3 bytes a pixel.
PIXEL_BUDGET = 16_000_000
SIDES = (96, 80, 64, 48, 32)
HEAT_COLOURS = colormaps["inferno"]


def thumbnail_side(images: int) -> int:
    """The largest side, in pixels, at which so many thumbnails keep within the budget."""
    fitting = [side for side in SIDES if images * side**2 <= PIXEL_BUDGET]
    return fitting[0] if fitting else SIDES[-1]


def thumbnail(image: NDArray[np.uint8], side: int) -> str:
    """An image uint8 (S, S, 3) at `side` pixels."""
    small = Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.LANCZOS)
    return _webp(small, quality=70, method=4)


def heat_layer(heat: NDArray[np.uint8]) -> str:
    """A Grad-CAM map uint8 (h, w) as a layer to lay over its image: clear where it is cold."""
    small = Image.fromarray(np.asarray(heat))
    if max(small.size) > HEAT_SIDE:
        small = small.resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BOX)
    warmth = np.asarray(small, np.float32) / 255
    layer = HEAT_COLOURS(warmth, bytes=True)
    layer[..., 3] = np.round(255 * 0.75 * warmth).astype(np.uint8)
    return _webp(Image.fromarray(layer), quality=60, method=4)


def _webp(image: Image.Image, *, quality: int, method: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=method)
    return base64.b64encode(buffer.getvalue()).decode()
