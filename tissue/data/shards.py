"""Arrays in several files: `train.npy`, `train.1.npy`, `train.2.npy`, ...; one file is the default.

A set of a million images is larger than what is well moved, hashed and cached as one file. Row i of
the table is row i over all files in order. Every file but the last has as many rows as the first.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tissue.common.errors import InputError

Array = NDArray[Any]


class Shards:
    """Arrays of the same kind of rows, read as if they were one; what is asked for is copied."""

    def __init__(self, parts: Sequence[Array]) -> None:
        """Take at least one array; memory-mapped ones stay where they are."""
        self.parts = list(parts)
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self.shape = (int(self.starts[-1]), *self.parts[0].shape[1:])
        self.dtype = self.parts[0].dtype

    def __len__(self) -> int:
        """Return the number of rows of all arrays."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        """Return one row, a slice of rows, or the rows of an integer array, in its order."""
        if isinstance(rows, int | np.integer):
            return self._gather(np.array([range(len(self))[rows]]))[0]
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        return self._gather(np.arange(len(self))[rows])

    def __setitem__(self, rows: slice, values: Array) -> None:
        """Write a slice of rows."""
        start, stop, _ = rows.indices(len(self))
        for first, part in zip(self.starts, self.parts, strict=False):
            low, high = max(start, first), min(stop, first + len(part))
            if low < high:
                part[low - first : high - first] = values[low - start : high - start]

    def __iter__(self) -> Iterator[Array]:
        """Go through the rows."""
        return (row for part in self.parts for row in part)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: what is in several files is too large to be read whole."""
        raise TypeError(
            f"expected some rows of {len(self.parts)} files to be asked for. Received: a request "
            "for all at once. Where they fit into memory, raise split.shard_size for one file."
        )

    def reshape(self, *shape: int) -> "Shards":
        """Return the same values with other rows; the first number is -1."""
        return Shards([part.reshape(shape) for part in self.parts])

    def flush(self) -> None:
        """Write what was set in memory-mapped arrays to their files."""
        for part in self.parts:
            if isinstance(part, np.memmap):
                part.flush()

    def _gather(self, rows: NDArray[np.int64]) -> Array:
        gathered = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            gathered[mine] = self.parts[number][rows[mine] - self.starts[number]]
        return gathered


class RowSelection:
    """Some rows of an array in a given order, read when they are asked for."""

    def __init__(self, array: "Array | Shards", rows: NDArray[np.int64]) -> None:
        """Take the array, which may be memory-mapped or in several files, and row numbers (N,)."""
        self.array, self.rows = array, rows
        self.shape = (len(rows), *array.shape[1:])

    def __len__(self) -> int:
        """Return the number of chosen rows."""
        return len(self.rows)

    def __getitem__(self, rows: Any) -> Array:
        """Return one of the rows, a slice of them or those of an integer array."""
        return np.asarray(self.array[self.rows[rows]])

    def __iter__(self) -> Iterator[Array]:
        """Go through the chosen rows."""
        return (self[row] for row in range(len(self)))


def shard_path(path: Path, number: int) -> Path:
    """Return the file of a shard of `path`, such as `train.npy`, counted from 0."""
    return path.with_suffix(f".{number}{path.suffix}") if number else path


def shard_slices(rows: int, shard_size: int) -> list[slice]:
    """Return the rows of each shard; without any row there is one, which is empty."""
    return [slice(at, min(at + shard_size, rows)) for at in range(0, max(rows, 1), shard_size)]


def shards_of(array: "Array | Shards") -> list[Array]:
    """Return the arrays of all files."""
    return array.parts if isinstance(array, Shards) else [array]


def read_rows(file: IO[bytes], rows: slice) -> Array:
    """Read some rows of an .npy file, and close it; no more of it is read than these."""
    with file:
        version = np.lib.format.read_magic(file)
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, _, dtype = read_header(file)
        size = dtype.itemsize * int(np.prod(shape[1:]))
        file.seek(rows.start * size, 1)
        content = file.read((rows.stop - rows.start) * size)
    return np.frombuffer(content, dtype).reshape(-1, *shape[1:])


def shard_size_of(array: "Array | Shards") -> int:
    """Return how many rows an array has in its first file: its like has as many."""
    return max(1, len(shards_of(array)[0]))


def create_shards(path: Path, shape: Sequence[int], dtype: DTypeLike, *, shard_size: int) -> Shards:
    """Create the files of an array, memory-mapped, to be filled."""
    return Shards(
        [
            np.lib.format.open_memmap(
                shard_path(path, number), "w+", dtype, (rows.stop - rows.start, *shape[1:])
            )
            for number, rows in enumerate(shard_slices(shape[0], shard_size))
        ]
    )


def read_shards(path: Path) -> "Array | Shards":
    """Memory-map an array: as such if it is in one file, else as `Shards`.

    Raises:
        InputError: naming the file that is missing, or has other rows than the first.
    """
    first = _map(path)
    pattern = re.compile(rf"{re.escape(path.stem)}\.([1-9][0-9]*){re.escape(path.suffix)}")
    found = [pattern.fullmatch(other.name) for other in path.parent.iterdir()]
    last = max((int(match[1]) for match in found if match), default=0)
    if not last:
        return first
    parts = [first]
    for number in range(1, last + 1):
        file = shard_path(path, number)
        if not file.exists():
            raise InputError(
                f"{file}: expected an array, since {shard_path(path, last).name} exists. Received: "
                "no such file. Run `dvc repro`, or `dvc checkout`."
            )
        part = _map(file)
        kind, wanted = (part.shape[1:], part.dtype), (first.shape[1:], first.dtype)
        if kind != wanted:
            raise InputError(
                f"{file}: expected rows {wanted[0]} of {wanted[1]}, as in {path.name}. Received: "
                f"{kind[0]} of {kind[1]}. Run `dvc repro`."
            )
        if not (0 < len(part) <= len(first) if number == last else len(part) == len(first)):
            raise InputError(
                f"{file}: expected {'at most ' if number == last else ''}{len(first)} rows, as in "
                f"{path.name}. Received: {len(part)}. Run `dvc repro`."
            )
        parts.append(part)
    return Shards(parts)


def _map(path: Path) -> Array:
    return np.load(path, mmap_mode="r", allow_pickle=False)
