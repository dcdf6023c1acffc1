"""What is kept in the file of a model beside what Keras saves there, which ignores it.

A `.keras` file is a zip archive; these are members of it.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tissue.common.files import reading

CLASSES, TEMPERATURE = "classes.json", "temperature.json"
# Folders of arrays: the distance from training, and what cross-validation said of validation.
NOVELTY, HELD_OUT = "novelty", "cross_fitting"


def members(
    classes: Sequence[str], temperature: float, arrays: Mapping[str, Mapping[str, ArrayLike]]
) -> dict[str, bytes]:
    """Return the content of the members by name.

    Args:
        classes: their names, in the order of the outputs.
        temperature: that the probabilities have been calibrated by.
        arrays: by folder and name; numbers that are not whole are kept as float32.
    """
    files = {
        CLASSES: json.dumps(list(classes)).encode(),
        TEMPERATURE: json.dumps(temperature).encode(),
    }
    for folder, named in arrays.items():
        for name, values in named.items():
            array, content = np.asarray(values), io.BytesIO()
            kind = np.float32 if array.dtype.kind == "f" else array.dtype
            np.save(content, array.astype(kind), allow_pickle=False)
            files[f"{folder}/{name}.npy"] = content.getvalue()
    return files


def read_arrays(path: Path, folder: str) -> dict[str, NDArray[Any]]:
    """Return the arrays in a folder of the file by name, none if it has no such folder.

    Raises:
        InputError: if the file is damaged.
    """
    with reading(path), zipfile.ZipFile(path) as saved:
        names = [Path(name) for name in saved.namelist() if name.startswith(f"{folder}/")]
        return {
            name.stem: np.load(io.BytesIO(saved.read(name.as_posix())), allow_pickle=False)
            for name in names
        }


def temperature_of(path: Path) -> float:
    """Return the temperature that a model was calibrated by, 1 for older files."""
    with reading(path), zipfile.ZipFile(path) as saved:
        return json.loads(saved.read(TEMPERATURE)) if TEMPERATURE in saved.namelist() else 1.0
