"""The output of `split`: for each split an array of images and a table that describes its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.files import read_json, reading
from tissue.common.names import TILE
from tissue.config.schema import Params
from tissue.data.shards import Array, Shards, read_array

PREPARATION_FILE = "images.json"  # beside the splits: their `preparation`
# Of each image, by `tissue.images.quality.measure_quality`.
QUALITY = ["tissue_fraction", "blur", "haematoxylin", "dab"]
# How they, and the distance from training, are written wherever they are shown.
FORMS = {
    "tissue_fraction": "{:.0%}", "blur": "{:.2f}", "haematoxylin": "{:.2f}", "dab": "{:.2f}",
    "distance": "{:.2f}",
}  # fmt: skip
IMAGE, CROPS = 4, 5  # dimensions of the arrays of images and of crops
MOST_UNEQUAL = 3.0  # training images of the largest class to the smallest; more is reported
# Names stay text even where they look like numbers.
TEXT_COLUMNS = (
    "id", "class", "actual", "predicted", "group", "file", "member", "sha256", "source", "donor",
    "slide", "antibody", *TILE,
)  # fmt: skip


class Dataset(NamedTuple):
    """Memory-mapped images uint8 (N, S, S, 3) of a split, and the table that describes them.

    `crops` are uint8 (N, C, S, S, 3), or None where `split` kept none.
    """

    images: Array | Shards
    index: pd.DataFrame
    crops: Array | Shards | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers, int64 (N,), in the order of `classes.json`."""
        return self.index["label"].to_numpy(np.int64)


def preparation(params: Params) -> dict[str, Any]:
    """Return the parameters, by their keys, that the arrays of the splits depend on."""
    return {
        "image_size": params.image_size,
        "split.crops": params.split.crops.model_dump(),
        "split.field": params.split.field,
    }


def read_index(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table of images, or only some columns; empty text stays empty, not a number.

    Raises:
        InputError: if it is damaged.
    """
    types = dict.fromkeys(TEXT_COLUMNS, str)
    with reading(path):
        return pd.read_csv(path, dtype=types, usecols=columns, keep_default_na=False)


def read_split(folder: Path, name: str) -> Dataset:
    """Open the training, validation or test set that `split` wrote.

    Raises:
        InputError: if the table and the arrays have different numbers of rows.
    """
    path, crops_path = folder / f"{name}.npy", folder / f"{name}_crops.npy"
    images = read_array(path)
    index = read_index(folder / f"{name}.csv")
    check_rows(images, index, path, dimensions=IMAGE, stage="split")
    # All splits have crops or none has.
    crops = read_array(crops_path) if any(folder.glob("*_crops.npy")) else None
    if crops is not None:
        check_rows(crops, index, crops_path, dimensions=CROPS, stage="split")
    _check_labels(index, read_classes(folder), folder / f"{name}.csv")
    return Dataset(images, index, crops)


def check_rows(
    array: Array | Shards, index: pd.DataFrame, path: Path, *, dimensions: int, stage: str
) -> None:
    """Check that an array has so many dimensions, and a row for each of the ids of its table.

    Raises:
        InputError: naming the file and the stage that writes it.
    """
    with reading(path):
        if not index["id"].is_unique:
            raise ValueError("ids that repeat in its table")
    if len(array.shape) != dimensions or len(array) != len(index):
        raise InputError(
            f"{path}: expected {dimensions} dimensions and as many rows as its table, "
            f"{len(index)}. Received: the shape {array.shape}. Run `dvc repro {stage}`, or `make "
            "pull` for what others have made."
        )


def _check_labels(index: pd.DataFrame, classes: list[str], path: Path) -> None:
    with reading(path):
        if dict(zip(index["label"], index["class"], strict=True)).items() - enumerate(classes):
            raise ValueError(f"labels other than the {len(classes)} of classes.json")


def unequal_classes(images_per_class: Mapping[str, int]) -> str:
    """Return a sentence if the largest class is over three times the smallest, else nothing.

    `fewest` and `most` are the training images of a class, as in `metrics/split.json`.
    """
    fewest, most = images_per_class["fewest"], images_per_class["most"]
    if most <= MOST_UNEQUAL * fewest:
        return ""
    return (
        f"classes are unequal: the smallest has {fewest} training images, the largest {most}; "
        "rare classes are recognised less often (docs/models.md, class_weights)"
    )


def read_classes(folder: Path) -> list[str]:
    """Return the class names; the position of a name is its label."""
    return read_json(folder / "classes.json", list)


def locate_rows(ids: pd.Series, index: pd.DataFrame, *, what: str) -> NDArray[np.int64]:
    """Return the row number of each id in a table, to join tables on ids and not on order.

    Raises:
        InputError: if an id is missing from the table, which `what` names.
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
    """Return about `most` sorted row numbers, drawn with the same share from each stratum.

    All rows are returned if there are not more, and at least one of each combination of values of
    the columns `by`.
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
