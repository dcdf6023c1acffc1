"""Arrays in several files: `train.npy`, `train.1.npy`, `train.2.npy`, ...; by default in one.

A million images are too much for one file to be moved, hashed and cached. Row i of the table is row
i over all files in order. Every file but the last has as many rows as the first.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.files import reading

Array = NDArray[Any]


class Shards:
    """Arrays, often memory-mapped, that are read as one; rows are copied when they are indexed."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = list(parts)
        self.starts = np.cumsum([0, *map(len, parts)])
        self.shape = (int(self.starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        """Return one row, a slice of rows, or the rows of an integer array, in its order."""
        if isinstance(rows, int | np.integer):
            return self._gather(np.array([range(len(self))[rows]]))[0]
        if isinstance(rows, slice):
            return self._gather(np.arange(*rows.indices(len(self))))
        return self._gather(np.arange(len(self))[rows])

    def __iter__(self) -> Iterator[Array]:
        return (row for part in self.parts for row in part)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to read all files at once, which may not fit into memory."""
        raise TypeError(
            f"expected a selection of the rows of {len(self.parts)} files. Received: a request for "
            "all of them. If they fit into memory, raise advanced.split.shard_size for one file."
        )

    def reshape(self, *shape: int) -> "Shards":
        """Return the same values with other rows; the first number is -1."""
        return Shards([part.reshape(shape) for part in self.parts])

    def _gather(self, rows: NDArray[np.int64]) -> Array:
        gathered = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            gathered[mine] = self.parts[number][rows[mine] - self.starts[number]]
        return gathered


class RowSelection:
    """Some rows of an array in a given order, read when they are indexed."""

    def __init__(self, array: Array | Shards, rows: NDArray[np.int64]) -> None:
        self.array, self.rows = array, rows
        self.shape = (len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> Array:
        return np.asarray(self.array[self.rows[rows]])

    def __iter__(self) -> Iterator[Array]:
        return (self[row] for row in range(len(self)))


def create_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Array:
    """Return a new .npy file mapped into memory, for which the disk has space.

    Without the space, writing to the map would end the process by a signal (SIGBUS).

    Raises:
        OSError: with errno ENOSPC if there is none; the file is then removed.
    """
    array: Array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate") and array.nbytes:
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink()
            raise
    return array


def write_array(path: Path, values: Array) -> None:
    """Write a .npy file; unlike after `numpy.save`, an error says that the disk is full."""
    create_array(path, values.dtype, values.shape)[...] = values


def shard_path(path: Path, number: int) -> Path:
    """Return the file of a shard of `path`, such as `train.npy`, counted from 0."""
    return path.with_suffix(f".{number}{path.suffix}") if number else path


def shard_slices(rows: int, shard_size: int) -> list[slice]:
    """Return the rows of each shard; an array without rows has one empty shard."""
    return [slice(at, min(at + shard_size, rows)) for at in range(0, max(rows, 1), shard_size)]


def shards_of(array: Array | Shards) -> list[Array]:
    """Return the arrays of all files."""
    return array.parts if isinstance(array, Shards) else [array]


def read_rows(file: IO[bytes], rows: slice) -> Array:
    """Read some rows of an open .npy file, and only their bytes; close it."""
    with file:
        version = np.lib.format.read_magic(file)
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, _, dtype = read_header(file)
        size = dtype.itemsize * int(np.prod(shape[1:]))
        file.seek(rows.start * size, 1)
        content = file.read((rows.stop - rows.start) * size)
    return np.frombuffer(content, dtype).reshape(-1, *shape[1:])


def read_array(path: Path) -> Array | Shards:
    """Memory-map an array, as `Shards` if it is in several files.

    Raises:
        InputError: naming a file that is missing or damaged, or whose rows do not fit those of the
            first.
    """
    pattern = re.compile(rf"{re.escape(path.stem)}\.([1-9][0-9]*){re.escape(path.suffix)}")
    found = [pattern.fullmatch(file.name) for file in path.parent.glob("*")]
    last = max((int(match[1]) for match in found if match), default=0)
    parts: list[Array] = []
    for number in range(last + 1):
        file = shard_path(path, number)
        if number and not file.exists():
            raise InputError(
                f"{file}: expected an array, since {shard_path(path, last).name} exists. Received: "
                "no such file. Run `dvc repro`, or `dvc checkout`."
            )
        with reading(file):
            parts.append(np.load(file, mmap_mode="r", allow_pickle=False))
            if not isinstance(parts[-1], np.ndarray) or not parts[-1].ndim:
                raise TypeError("no array with rows")
        if number:
            _check_shard(file, parts[-1], parts[0], path.name, is_last=number == last)
    return Shards(parts) if last else parts[0]


def _check_shard(file: Path, part: Array, first: Array, name: str, *, is_last: bool) -> None:
    if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
        raise InputError(
            f"{file}: expected rows {first.shape[1:]} of {first.dtype}, as in {name}. Received: "
            f"{part.shape[1:]} of {part.dtype}. Run `dvc repro`."
        )
    if not (0 < len(part) <= len(first) if is_last else len(part) == len(first)):
        raise InputError(
            f"{file}: expected {'at most ' if is_last else ''}{len(first)} rows, as in {name}. "
            f"Received: {len(part)}. Run `dvc repro`."
        )
