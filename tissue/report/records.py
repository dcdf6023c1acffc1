"""What the script of the page works on: each image once, and each error with its explanation."""

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
from tissue.common.names import MODEL_NAMES, MODELS
from tissue.data.index import locate_rows
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS, NONE_FOUND, branch_sentence
from tissue.figures.theme import class_style
from tissue.report.formatting import SPLIT_NAMES, count
from tissue.report.reading import Inputs, shown_ids

CAUSE_NAMES = {
    "little_tissue": "little tissue",
    "blur": "blur",
    "extreme_stain": "extreme stain",
    "unlike_training": "out of distribution",
    "suspect_label": "suspect label",
    "few_donors": "too few donors like it",
    "one_scale": "seen at one magnification only",
    "looks_other": "looks like another class",
    "not_learnt": "not learnt in training",
    "views_disagree": "views disagree",
    "donor_unseen": "donor not in training",
    NONE_FOUND: "no measured cause",
}
# Bokeh's names of matplotlib's markers; it has no filled x.
MARKERS = {
    "o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "inverted_triangle",
    "P": "plus", "X": "star",
}  # fmt: skip
# Pixels of all thumbnails together; tissue takes 0.1 to 0.2 bytes per pixel.
PIXEL_BUDGET = 40_000_000
SIDES = (96, 80, 64, 48, 32)
LARGE = 224  # side of those whose tissue is judged


def cause_names(inputs: Inputs) -> dict[str, str]:
    """Return the names of the causes that can tell test images apart.

    A donor who is not in training is no cause where this is true of all test images or of none.
    """
    unseen = ~inputs.index["test"]["group"].isin(inputs.index["train"]["group"])
    names = dict(CAUSE_NAMES)
    if unseen.all() or not unseen.any():
        del names["donor_unseen"]
    return names


def records(inputs: Inputs) -> dict[str, Any]:
    """Return everything that can be selected: images as columns, errors as rows, their names."""
    images = shown_images(inputs)
    wrong = images["id"].isin(inputs.errors["id"])
    near = images["id"].isin(inputs.errors[list(NEIGHBOUR_COLUMNS)].to_numpy().ravel())
    sides = thumbnail_sides(wrong | near | (images["split"] == "test"), wrong)
    styles = [class_style(position) for position in range(len(inputs.classes))]
    return {
        "classes": inputs.classes,
        "colours": [colour for colour, _ in styles],
        "markers": [MARKERS[marker] for _, marker in styles],
        "models": MODEL_NAMES,
        "splits": SPLIT_NAMES,
        "causes": cause_names(inputs),
        # Not all groups are donors: some are given by the user, positions or near-duplicates.
        "group": "donor" if inputs.metrics["split"]["group_rule"] == "donor" else "group",
        "images": {
            "id": images["id"].tolist(),
            "split": images["split"].tolist(),
            "class": images["label"].tolist(),
            "group": images["group"].tolist(),
            "side": sides,
            "picture": [
                thumbnail(inputs.datasets[split].images[row], side)
                for split, row, side in zip(images["split"], images["row"], sides, strict=True)
            ],
            **_coordinates(images, inputs.points),
            **_predictions(images, inputs),
        },
        "errors": _errors(images, inputs),
        "every": _error_count(inputs),
    }


def shown_images(inputs: Inputs) -> pd.DataFrame:
    """Return the images that the page can show: id, label, group, split and row in the split."""
    ids = shown_ids(inputs.errors, inputs.points)
    frames = []
    for name in ("test", "train", "val"):
        index = inputs.index[name]
        (rows,) = index["id"].isin(ids).to_numpy().nonzero()
        frames.append(index[["id", "label", "group"]].iloc[rows].assign(split=name, row=rows))
    return pd.concat(frames, ignore_index=True)


def omitted_sentence(inputs: Inputs, known: dict[str, Any]) -> str:
    """Return a sentence on test images and errors that the page leaves out, empty if it has all.

    Args:
        inputs: what the other stages wrote.
        known: its `records`.
    """
    tests, tests_shown = len(inputs.index["test"]), known["images"]["split"].count("test")
    errors, errors_shown = _error_count(inputs), len(inputs.errors)
    if (tests, errors) == (tests_shown, errors_shown):
        return ""
    which = " (the most confident of each model and class)" if errors_shown < errors else ""
    return (
        f"The page shows {count(tests_shown)} of {count(tests)} test images and "
        f"{count(errors_shown)} of {count(errors)} errors{which}. "
        "Numbers and tables cover all of them unless they say otherwise."
    )


def _error_count(inputs: Inputs) -> int:
    return sum(inputs.metrics["errors"][model]["errors"] for model in MODELS)


def _coordinates(images: pd.DataFrame, points: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return coordinates in the t-SNE, None for an image that it left out."""
    placed = points.set_index("id").reindex(images["id"])
    return {
        axis: [None if pd.isna(value) else round(float(value), 2) for value in placed[axis]]
        for axis in ("x", "y")
    }


def _predictions(images: pd.DataFrame, inputs: Inputs) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {"answer": {}, "confidence": {}}
    for model, frame in inputs.predictions.items():
        rows = frame.iloc[locate_rows(images["id"], frame, what=f"data/predictions/{model}.csv")]
        found["answer"][model] = pd.Index(inputs.classes).get_indexer(rows["predicted"]).tolist()
        found["confidence"][model] = [round(float(value), 3) for value in rows["confidence"]]
    return found


def _errors(images: pd.DataFrame, inputs: Inputs) -> list[dict[str, Any]]:
    errors = inputs.errors
    if len(errors) != len(inputs.heat):
        raise InputError(
            "data/predictions: expected a Grad-CAM map for each error of gradcam.csv. Received: "
            f"{len(errors)} errors and {len(inputs.heat)} maps. Run `dvc repro evaluate`."
        )
    used = pd.Series(pd.unique(errors[["id", *NEIGHBOUR_COLUMNS]].to_numpy().ravel()))
    used = used[used != ""]  # fewer than five neighbours where training has fewer images
    located = locate_rows(used, images, what="data/predictions/errors.csv")
    rows = dict(zip(used, located.tolist(), strict=True))
    return [
        {
            "image": rows[error["id"]],
            "model": error["model"],
            "cause": error["cause"],
            "margin": round(error["margin"], 3),
            "sentence": error["sentence"],
            "branches": branch_sentence(error["whole"], error["crops"], *_names(error)),
            "near": [rows[error[column]] for column in NEIGHBOUR_COLUMNS if error[column]],
            "heat": [heat_layer(heat) if heat.any() else None for heat in maps],
        }
        for error, maps in zip(errors.to_dict("records"), inputs.heat, strict=True)
    ]


def _names(error: dict[Any, Any]) -> tuple[str, str]:
    predicted, actual = (error[key].replace("_", " ") for key in ("predicted", "class"))
    return predicted, actual


def as_json(value: Any) -> str:
    """Return JSON for a script element, without `<`, which could end it or start a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def thumbnail_sides(judged: pd.Series, wrong: pd.Series) -> list[int]:
    """Return the side in pixels of each thumbnail, given which images are judged by eye.

    Those that are judged are large, or of too many those of errors alone, if all others can have
    the usual side; else all have the largest side that stays within the budget.
    """
    for large in (judged, wrong):
        sides = np.where(large, LARGE, SIDES[0])
        if np.square(sides).sum() <= PIXEL_BUDGET:
            return sides.tolist()
    fitting = [side for side in SIDES if len(wrong) * side**2 <= PIXEL_BUDGET]
    return [fitting[0] if fitting else SIDES[-1]] * len(wrong)


def thumbnail(image: NDArray[np.uint8], side: int) -> str:
    """Return an image uint8 (S, S, 3) at `side` pixels, as WebP in base64."""
    small = Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.LANCZOS)
    return _webp(small, quality=60)


def heat_layer(heat: NDArray[np.uint8]) -> str:
    """Return a Grad-CAM map uint8 (h, w) as a layer over its image, transparent where it is 0."""
    warmth = np.asarray(heat, np.float32) / 255
    layer = colormaps["inferno"](warmth, bytes=True)
    layer[..., 3] = np.round(255 * 0.75 * warmth).astype(np.uint8)
    return _webp(Image.fromarray(layer), quality=60)


def _webp(image: Image.Image, *, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return base64.b64encode(buffer.getvalue()).decode()
