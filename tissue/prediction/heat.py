"""Figures of where a model looked: Grad-CAM of its most probable class against the second."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePath

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tissue.common.errors import InputError
from tissue.common.runtime import set_up
from tissue.config.schema import Params
from tissue.data.index import preparation
from tissue.error_analysis.gradcam import Views, explain_decisions
from tissue.error_analysis.table import branch_sentence
from tissue.figures.theme import house_style, new_figure, save_png
from tissue.images.reading import read_image
from tissue.portable.running import Portable
from tissue.prediction.inputs import Picture
from tissue.prediction.predictor import DrawHeat
from tissue.training.saving import load_model

SHOWN = 2
LONGEST = 200  # bytes of a file name; most systems allow 255, and `atomic_write` adds some


def heat_of(path: Path, model: Portable, params: Params, folder: Path) -> DrawHeat:
    """Return what draws `<folder>/<id>.png` for pictures and their probabilities (N, classes).

    Args:
        path: the model with layers, saved by Keras, of which `model` is the portable form.
        model: the one that answers.
        params: how pictures are prepared, which must be as the model was trained.
        folder: where the figures go; a `/` in an id makes a folder.

    Raises:
        InputError: if the parameters are others, or nothing can be drawn.
    """
    _check_prepared(model, params)
    set_up(seed=params.seed, threads=params.threads)
    network = load_model(path)
    _check_has_maps(network)
    views = Views(int(model.metadata["views"]), params.split.crops.zoom)
    files = FileNames()

    def draw_heat(pictures: list[Picture], probabilities: NDArray[np.float32]) -> None:
        read = [
            read_image(one.content, params.split, size=params.image_size, mpp=one.mpp)
            for one in pictures
        ]
        images, crops = np.stack([one.image for one in read]), np.stack([one.crops for one in read])
        pairs = np.argsort(-probabilities, axis=1, kind="stable")[:, :SHOWN]
        heat, branches = explain_decisions(
            network, images, crops if crops.size else None, pairs, views=views
        )
        for i, picture in enumerate(pictures):
            names = [model.classes[label] for label in pairs[i]]
            titles = [
                f"{name} {share:.1%}"
                for name, share in zip(names, probabilities[i, pairs[i]], strict=True)
            ]
            text = branch_sentence(*branches[i], *(name.replace("_", " ") for name in names))
            _draw(images[i], heat[i], titles, text, folder / f"{files.name_for(picture.id)}.png")

    return draw_heat


def _check_prepared(model: Portable, params: Params) -> None:
    recorded = json.loads(model.metadata["prepared"])
    for name, value in preparation(params).items():
        if recorded.get(name) != value:
            raise InputError(
                "heat maps: expected the params.yaml that the model was trained with. Received: "
                f"{name} was {recorded.get(name)}, and is {value} now. Restore the params.yaml, or "
                "run `dvc repro`."
            )


def _check_has_maps(network: keras.Model) -> None:
    if network.name == "head":
        raise InputError(
            "heat maps: expected a model with a backbone inside. Received: one with an .onnx "
            "backbone, through which no gradient can be followed. Answer without heat maps."
        )
    if (count := network.output_shape[-1]) < SHOWN:
        raise InputError(
            "heat maps: expected a model of two classes or more, to draw what favours one over "
            f"another. Received: one of {count}. Answer without heat maps."
        )


class FileNames:
    """Names of files for pictures: never outside of the folder, and another one for each picture.

    File systems have limits to the length of a name, and some ignore case.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def name_for(self, name: str) -> str:
        """Return the name, with `/` for folders, of the file of a picture."""
        parts = [part for part in PurePath(name).as_posix().split("/") if part not in ("", "..")]
        short = "/".join(_cut(part) if len(part.encode()) > LONGEST else part for part in parts)
        if self._owners.setdefault(short.casefold(), name) != name:
            return f"{short}-{_digest(name)}"
        return short


def _cut(text: str) -> str:
    return f"{text.encode()[: LONGEST - 9].decode(errors='ignore')}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


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
        save_png(figure, path, shared=True)  # with another run into this folder
