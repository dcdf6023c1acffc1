"""What was read of all images, in files too large for memory, one row at a time."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.data.index import QUALITY
from tissue.data.shards import shard_path, shard_slices
from tissue.images.keypoints import KeyPoints

CACHED = 256  # sets of key points kept in memory, 58 kB each


class StoredRows:
    """The rows of several .npy files of one type; all but the last have the same number of rows."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        first, last = (np.load(paths[at], mmap_mode="r", allow_pickle=False) for at in (0, -1))
        self._type, self._each, self._last = first.dtype, len(first), len(last)

    def __len__(self) -> int:
        return self._each * (len(self._paths) - 1) + self._last

    def read(self, row: int, field: str) -> NDArray[Any]:
        """Return one field of a row."""
        number, at = divmod(row, self._each)
        rows = self._last if number == len(self._paths) - 1 else self._each
        kind, offset = self._type.fields[field][:2]
        with self._paths[number].open("rb") as file:
            # From the end: the length of the header is not known.
            file.seek((at - rows) * self._type.itemsize + offset, 2)
            read = np.frombuffer(file.read(kind.itemsize), kind.base)
        return read.reshape(kind.shape) if kind.shape else read[0]

    def all(self, field: str) -> NDArray[Any]:
        """Return a small field of all rows, (N, ...)."""
        kind, _ = self._type.fields[field][:2]
        # As text of a fixed width, each string would take as much memory as the longest possible.
        values = np.empty((len(self), *kind.shape), object if kind.kind == "U" else kind.base)
        for number, path in enumerate(self._paths):
            # One file at a time: mapped pages count towards the memory of the process.
            column = np.load(path, mmap_mode="r", allow_pickle=False)[field]
            values[number * self._each :][: len(column)] = column
        return values

    def table(self) -> pd.DataFrame:
        """Return `reason`, `sha256`, `width`, `height` and the quality measures of all rows."""
        names = ["reason", "sha256", "width", "height", *QUALITY]
        return pd.DataFrame({name: self.all(name) for name in names})


class StoredImages:
    """One field of some rows, such as the images uint8 (N, S, S, 3), in the order of `rows`."""

    def __init__(self, stored: StoredRows, rows: NDArray[np.int64], *, field: str = "image"):
        self._stored, self._rows, self._field = stored, rows, field

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """Return an image, uint8 (S, S, 3), or the crops of an image, uint8 (C, S, S, 3)."""
        return self._stored.read(int(self._rows[row]), self._field)


def stored_key_points(stored: StoredRows, rows: NDArray[np.int64]) -> Callable[[int], KeyPoints]:
    """Return a function that reads the key points of one of `rows`, by its position."""

    @lru_cache(CACHED)
    def key_points(row: int) -> KeyPoints:
        points = stored.read(int(rows[row]), "key_points")
        return KeyPoints(*(points[name][: points["count"]] for name in KeyPoints._fields))

    return key_points


def write_shards(path: Path, images: StoredImages, *, shard_size: int) -> None:
    """Write stored images as .npy files of at most `shard_size` rows, see `tissue.data.shards`."""
    for number, shard in enumerate(shard_slices(len(images), shard_size)):
        shape = (shard.stop - shard.start, *images[0].shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        # Not by a memory map, whose pages would count towards the memory of the process.
        with shard_path(path, number).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for row in range(shard.start, shard.stop):
                file.write(images[row].tobytes())
