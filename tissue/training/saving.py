"""Models as they are saved: a picture of any size in, and the same bytes for the same weights."""

import json
import math
import re
import tempfile
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
from keras import ops
from numpy.typing import ArrayLike

from tissue.common.augmentation import VIEWS
from tissue.common.errors import InputError, is_disk_full
from tissue.common.files import atomic_write, read_json
from tissue.data.index import PREPARATION_FILE
from tissue.training.model_file import members

FIXED_DATE = "1980-01-01@00:00:00"
MOST_CONFIG = 5_000_000  # bytes that describe layers: some thousand of them
NAME = "of_pictures"


def save_model(
    model: keras.Model,
    path: Path,
    *,
    classes: Sequence[str] = (),
    temperature: float = 1.0,
    arrays: Mapping[str, Mapping[str, ArrayLike]] | None = None,
) -> None:
    """Save a model in Keras' own format, without anything that differs from run to run.

    Keras writes the date, the dates of the members of the zip, and `id()`s as names of shared
    objects; here the dates are fixed and the ids are numbered by first appearance. See `members`
    for the other arguments, which are kept in the same file.
    """
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as partial:
        as_saved = Path(folder, "model.keras")
        keras.saving.save_model(model, as_saved)
        with zipfile.ZipFile(as_saved) as saved, zipfile.ZipFile(partial, "w") as fixed:
            for name in sorted(saved.namelist()):
                fixed.writestr(zipfile.ZipInfo(name), _fix(name, saved.read(name)))
            for name, content in members(classes, temperature, arrays or {}).items():
                fixed.writestr(zipfile.ZipInfo(name), content)


def load_model(path: Path) -> keras.Model:
    """Load the network of a saved model for inference; code inside the file is never run.

    Raises:
        InputError: if the file is no such model.
        OSError: if there is no space for the copy that Keras makes of it.
    """
    try:
        _check_weights(path)
        return network_in(keras.saving.load_model(path, compile=False, safe_mode=True))
    except Exception as error:  # damaged files end in errors of several libraries
        if is_disk_full(error):
            raise
        # Otherwise Keras would allocate the weights of the check at the next occasion.
        keras.backend.clear_session()
        # Keras wraps the reason in messages with the whole configuration.
        reason = textwrap.shorten(str(error).rpartition("Exception encountered: ")[2], 400)
        raise InputError(
            f"{path}: expected a model saved by Keras 3 and made of its own layers alone. "
            f"Received: {reason}. Run `dvc repro`."
        ) from None


def _check_weights(path: Path) -> None:
    """Check that the layers have no more weights than the file has bytes, before any is allocated.

    In a stateless scope Keras notes the shape of each weight, and allocates none.

    Raises:
        ValueError: if they have, or there are too many layers.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as saved:
        if (described := saved.getinfo("config.json").file_size) > MOST_CONFIG:
            raise ValueError(f"layers described by {described:,} bytes, over {MOST_CONFIG:,}")
        values = json.loads(saved.read("config.json"))
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(values | {"compile_config": None})
    if not isinstance(model, keras.Model):
        raise TypeError(f"a {type(model).__name__}")
    weights = sum(math.prod(one.shape) for one in model.variables)
    if weights > size:
        raise ValueError(f"layers with {weights:,} weights in a file of {size:,} bytes")


def _fix(name: str, content: bytes) -> bytes:
    if name not in ("metadata.json", "config.json"):
        return content
    numbers: dict[str, int] = {}
    text = re.sub(
        r'(?<="shared_object_id": )\d+',
        lambda match: str(numbers.setdefault(match[0], len(numbers))),
        content.decode(),
    )
    values = json.loads(text)
    if name == "metadata.json":
        values["date_saved"] = FIXED_DATE
    return json.dumps(values, sort_keys=True).encode()


def of_pictures(network: keras.Model, split: Path, *, views: int) -> keras.Model:
    """Return a model of pictures in [0, 255] (N, H, W, 3) around a network of prepared images.

    It pads and shrinks them and cuts the crops as `split` does, within one grey level, and averages
    the probabilities of the dihedral views. The network itself is returned if Keras' layers cannot
    prepare its input: the features of an ONNX backbone, crops that are chosen.

    Args:
        network: as it was trained.
        split: the folder that `split` wrote.
        views: number of dihedral views.
    """
    prepared = read_json(split / PREPARATION_FILE)
    side = prepared["image_size"]
    count, zoom = (prepared["split.crops"][name] for name in ("count", "zoom"))
    has_crops = len(network.inputs) > 1
    if network.name == "head" or (has_crops and count != zoom**2):
        return network
    picture = keras.Input((None, None, 3), name="picture")
    image = _shrink(picture, side)
    turned = ops.concatenate([_view(image, view) for view in range(views)], axis=0)
    inputs = [turned]
    if has_crops:
        large = _shrink(picture, zoom * side)
        starts = range(0, zoom * side, side)
        crops = [large[:, y : y + side, x : x + side] for y in starts for x in starts]
        inputs.append(ops.tile(ops.stack(crops, axis=1), (views, 1, 1, 1, 1)))
    each = network(inputs if has_crops else turned)
    probabilities = ops.mean(ops.reshape(each, (views, -1, each.shape[-1])), axis=0)
    return keras.Model(picture, probabilities, name=NAME)


def network_in(model: keras.Model) -> keras.Model:
    """Return the network of prepared images in a saved model, which may be that network."""
    if model.name != NAME:
        return model
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def _shrink(picture: keras.KerasTensor, side: int) -> keras.KerasTensor:
    shrunk = keras.layers.Resizing(
        side, side, interpolation="bicubic", antialias=True, pad_to_aspect_ratio=True,
        fill_value=255,
    )(picture)  # fmt: skip
    return ops.round(ops.clip(shrunk, 0, 255))


def _view(image: keras.KerasTensor, view: int) -> keras.KerasTensor:
    """Return what `dihedral` does, of a tensor (N, S, S, 3)."""
    turned = ops.rot90(image, view % 4, axes=(1, 2)) if view % 4 else image
    return ops.flip(turned, axis=2) if view >= VIEWS // 2 else turned
