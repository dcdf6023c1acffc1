"""What `split` hands on: for each part an array of images and a table that describes its rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.data.shards import Array, Shards, read_shards

PREPARATION_FILE = "images.json"  # beside the parts: the parameters that their arrays hang on
# Of each image, by `tissue.images.quality.measure_quality`.
QUALITY = ["tissue_fraction", "blur", "haematoxylin", "dab"]
# Names stay text even where they look like numbers.
TEXT_COLUMNS = ("id", "class", "group", "sha256", "source", "donor", "slide", "antibody")


class Dataset(NamedTuple):
    """Images uint8 (N, S, S, 3), memory-mapped, and the table whose row i describes image i.

    In several files, arrays are `Shards`, of which some rows at a time can be asked for.

    `crops` are uint8 (N, C, S, S, 3), or None where `split` kept none.
    """

    images: Array | Shards
    index: pd.DataFrame
    crops: Array | Shards | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers, int64 (N,), in the order of `classes.json`."""
        return self.index["label"].to_numpy(np.int64)


def read_index(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table of images; empty text stays empty instead of becoming a number.

    Args:
        path: of the CSV.
        columns: which to read, if not all: in a large set each text takes memory.
    """
    types = dict.fromkeys(TEXT_COLUMNS, str)
    return pd.read_csv(path, dtype=types, usecols=columns, keep_default_na=False)


def read_split(folder: Path, part: str) -> Dataset:
    """Open the training, validation or test part that `split` wrote.

    Raises:
        ValueError: if the array and the table do not have the same number of rows.
    """
    images = read_array(folder / f"{part}.npy")
    index = read_index(folder / f"{part}.csv")
    check_rows(images, index, folder / f"{part}.npy", stage="split")
    path = folder / f"{part}_crops.npy"
    crops = read_array(path) if path.exists() else None
    if crops is not None:
        check_rows(crops, index, path, stage="split")
    return Dataset(images, index, crops)


def read_array(path: Path) -> Array | Shards:
    """Memory-map an array, in one file or in several."""
    return read_shards(path)


def check_rows(array: Array | Shards, index: pd.DataFrame, path: Path, *, stage: str) -> None:
    """Check that an array has a row for each of its table.

    Raises:
        InputError: naming the file and the stage that writes it.
    """
    if len(array) != len(index):
        raise InputError(
            f"{path}: expected as many rows as its table, {len(index)}. Received: {len(array)}. "
            f"Run `dvc repro {stage}`, or `dvc pull` for what others have made."
        )


def read_classes(folder: Path) -> list[str]:
    """Return the class names; the position of a name is its label."""
    return json.loads((folder / "classes.json").read_text(encoding="utf-8"))


def locate_rows(ids: pd.Series, index: pd.DataFrame, *, what: str) -> NDArray[np.int64]:
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


def stratified_sample(
    index: pd.DataFrame, by: list[str], *, most: int, seed: int
) -> NDArray[np.int64]:
    """Return about `most` row numbers, sorted, drawn so that each kind of row keeps its share.

    Args:
        index: a row an image; all of them are returned where they are not more.
        by: the columns that say of which kind a row is; of each, one is returned at least.
        most: how many.
        seed: of the draw.
    """
    if len(index) <= most:
        return np.arange(len(index))
    rng = np.random.default_rng(seed)
    share = most / len(index)
    kept = [
        rng.permutation(rows)[: max(1, int(share * len(rows)))]
        for _, rows in sorted(index.groupby(by).indices.items())
    ]
    return np.sort(np.concatenate(kept))
