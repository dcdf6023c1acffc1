"""Load a trained model and the frozen backbone, and check that they fit data and parameters."""

from pathlib import Path
from typing import Any

import keras

from tissue.backbones.loading import Embedder, load_embedder
from tissue.common.errors import InputError
from tissue.common.files import read_json
from tissue.config.schema import Params
from tissue.data.features import NETWORK_FILE, RECORDED
from tissue.data.index import PREPARATION_FILE, preparation
from tissue.training.inference import is_fine_tuned
from tissue.training.novelty import Novelty
from tissue.training.saving import classes_of, load_model


def load_networks(name: str, params: Params, models: Path) -> tuple[keras.Model, Embedder]:
    """Load the model `scratch` or `pretrained`, and the backbone whose features `embed` cached.

    Raises:
        InputError: if a file is no model, or was trained with other parameters.
    """
    path = models / f"{name}.keras"
    network = load_model(path)
    _check_shapes(network, params, path)
    if name == "pretrained" and network.name != "head" and not is_fine_tuned(network):
        return network, network.get_layer("backbone")
    size, threads = params.image_size, params.threads
    return network, load_embedder(params.pretrained, image_size=size, threads=threads)


def _check_shapes(network: keras.Model, params: Params, path: Path) -> None:
    if network.name == "head":
        return  # takes features, which are compared with those of `embed`
    size, count = params.image_size, params.split.crops.count
    expected: list[tuple[int | None, ...]] = [(None, size, size, 3)]
    if network.name == "pretrained" and count:
        expected.append((None, count, size, size, 3))
    received = [tuple(tensor.shape) for tensor in network.inputs]
    if received != expected:
        raise InputError(
            f"{path}: expected a model that takes {expected}, after image_size and "
            "advanced.split.crops in "
            f"params.yaml. Received: one that takes {received}. Restore the params.yaml it was "
            "trained with, or run `dvc repro`."
        )


def check_recorded(params: Params, data: Path) -> None:
    """Raise an `InputError` if `split` or `embed` ran with other parameters."""
    pretrained = params.pretrained.model_dump(mode="json", include=set(RECORDED))
    _check_same(pretrained, data / "embed" / NETWORK_FILE, section="pretrained.")
    _check_same(preparation(params), data / "split" / PREPARATION_FILE)


def _check_same(expected: dict[str, Any], path: Path, *, section: str = "") -> None:
    recorded = read_json(path)
    for name, value in expected.items():
        if recorded.get(name) != value:
            raise InputError(
                f"{path.parent}: expected files made with the params.yaml that is here. Received: "
                f"{section}{name} was {recorded.get(name)}, and is {value} now. Restore the "
                "params.yaml, or run `dvc repro`."
            )


def check_classes(path: Path, classes: list[str]) -> None:
    """Raise an `InputError` if a model was trained on other classes."""
    if (trained := classes_of(path)) != classes:
        other = sorted(set(trained) ^ set(classes))
        raise InputError(
            f"{path}: expected a model of the classes in data/split/classes.json. Received: one of "
            f"{len(trained)} classes and not of {len(classes)} here; {', '.join(other[:3])} are "
            "not in both. Run `dvc repro`, or `dvc checkout` what belongs to this commit."
        )


def check_width(novelty: Novelty, width: int, path: Path) -> None:
    """Raise an `InputError` unless the distance is of as many features as an image has."""
    if (expected := len(novelty.mean)) != width:
        raise InputError(
            f"{path}: expected a backbone with {expected} features per image, as the model was "
            f"trained on. Received: {width}, after pretrained and advanced.split.crops in "
            "params.yaml. Restore the params.yaml it was trained with, or run `dvc repro`."
        )
