"""Models saved so that the same weights give the same bytes."""

import json
import math
import re
import tempfile
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
from numpy.typing import ArrayLike

from tissue.common.errors import InputError, is_disk_full
from tissue.common.files import atomic_write
from tissue.training.model_file import members
from tissue.training.pictures import network_in

FIXED_DATE = "1980-01-01@00:00:00"
MOST_CONFIG = 5_000_000  # bytes that describe layers: some thousand of them


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
