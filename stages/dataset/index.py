"""What `split` hands on: for each part an array of images and a table that describes its rows."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import InputError

PARTS = ("train", "val", "test")
# Names stay text even where they look like numbers.
TEXT_COLUMNS = ("id", "class", "group", "sha256", "source", "donor", "slide", "antibody")


class Part(NamedTuple):
    """Images uint8 (N, S, S, 3), memory-mapped, and the table whose row i describes image i.

    `crops` are uint8 (N, C, S, S, 3), or None where `split` kept none.
    """

    images: NDArray[np.uint8]
    index: pd.DataFrame
    crops: NDArray[np.uint8] | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers, int64 (N,), in the order of `classes.json`."""
        return self.index["label"].to_numpy(np.int64)


def read_index(path: Path) -> pd.DataFrame:
    """Read a table of images; empty text stays empty instead of becoming a number."""
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False)


def read_part(folder: Path, part: str) -> Part:
    """Open the training, validation or test part that `split` wrote.

    Raises:
        ValueError: if the array and the table do not have the same number of rows.
    """
    images = read_array(folder / f"{part}.npy")
    index = read_index(folder / f"{part}.csv")
    if len(images) != len(index):
        raise InputError(
            f"{folder / part}: expected as many images as rows in the table. Received: "
            f"{len(images)} and {len(index)}. Run `dvc repro split`."
        )
    crops = folder / f"{part}_crops.npy"
    return Part(images, index, read_array(crops) if crops.exists() else None)


def read_array(path: Path) -> NDArray[Any]:
    """Memory-map an array."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_classes(folder: Path) -> list[str]:
    """Return the class names; the position of a name is its label."""
    return json.loads((folder / "classes.json").read_text(encoding="utf-8"))


def rows_of(ids: pd.Series, index: pd.DataFrame, *, what: str) -> NDArray[np.int64]:
    """Return the row of each id in a table, so that consumers join on ids and not on order.

    Raises:
        ValueError: if an id is missing from the table.
    """
    rows = pd.Index(index["id"]).get_indexer(ids)
    if (rows < 0).any():
        raise InputError(
            f"{what}: expected a row for {ids[rows < 0].iloc[0]}. Received: none. Run `dvc repro`."
        )
    return rows
