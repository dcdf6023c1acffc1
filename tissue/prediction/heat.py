"""Figures of where a model looked: Grad-CAM of its most probable class against the second."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tissue.common.errors import InputError
from tissue.error_analysis.gradcam import Views, explain_decisions
from tissue.error_analysis.table import branch_sentence
from tissue.figures.theme import house_style, new_figure, save_png
from tissue.prediction.inputs import Picture, stack_pictures

SHOWN = 2
LONGEST = 200  # bytes of a file name; most systems allow 255, and `atomic_write` adds some


def check_has_maps(network: keras.Model) -> None:
    """Raise an `InputError` if a model has no convolutions of its own, or no two classes."""
    if network.name == "head":
        raise InputError(
            "--gradcam: expected a model with a backbone inside. Received: one with an .onnx "
            "backbone, through which no gradient can be followed. Leave --gradcam out."
        )
    if (count := network.output_shape[-1]) < SHOWN:
        raise InputError(
            "--gradcam: expected a model of two classes or more, to draw what favours one over "
            f"another. Received: one of {count}. Leave --gradcam out."
        )


def save_heat(
    network: keras.Model,
    pictures: list[Picture],
    probabilities: NDArray[np.float32],
    *,
    views: Views,
    classes: Sequence[str],
    folder: Path,
) -> None:
    """Draw `<folder>/<id>.png` for each picture.

    Args:
        network: the model that classified the pictures.
        pictures: those that are drawn; a `/` in an id makes a folder.
        probabilities: float32 (N, classes).
        views: those that the probabilities were averaged over.
        classes: all class names.
        folder: where the figures go.
    """
    images, crops = stack_pictures(pictures)
    pairs = np.argsort(-probabilities, axis=1, kind="stable")[:, :SHOWN]
    heat, branches = explain_decisions(network, images, crops, pairs, views=views)
    for i, picture in enumerate(pictures):
        titles = [f"{classes[label]} {probabilities[i, label]:.1%}" for label in pairs[i]]
        names = [classes[label].replace("_", " ") for label in pairs[i]]
        text = branch_sentence(*branches[i], *names)
        _draw(picture.image, heat[i], titles, text, folder / f"{_file_name(picture.id)}.png")


def _file_name(name: str) -> str:
    above, slash, last = name.rpartition("/")
    if len(last.encode()) > LONGEST:
        digest = hashlib.sha256(last.encode()).hexdigest()[:8]
        last = f"{last.encode()[: LONGEST - 9].decode(errors='ignore')}-{digest}"
    return f"{above}{slash}{last}"


def _draw(
    image: NDArray[np.uint8],
    heat: NDArray[np.uint8],
    titles: Sequence[str],
    text: str,
    path: Path,
) -> None:
    with house_style():
        figure = new_figure(2.6 * (1 + len(titles)), 3.0)
        figure.supxlabel(text, fontsize=8)
        axes = figure.subplots(1, 1 + len(titles), squeeze=False)[0]
        for axis, title in zip(axes, [path.stem, *titles], strict=True):
            axis.imshow(image)
            axis.set_title(title, fontsize=8)
            axis.set_axis_off()
        for axis, warmth in zip(axes[1:], heat, strict=True):
            smooth = np.asarray(Image.fromarray(warmth).resize(image.shape[1::-1])) / 255.0
            axis.imshow(smooth, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * smooth)
        save_png(figure, path)
