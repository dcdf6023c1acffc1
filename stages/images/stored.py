"""Arrays of images too large for memory, read and written row by row.

Not mapped into memory: pages of a mapping count as memory of the process as long as there is room
for them, and with them a limit on memory is reached that is no shortage at all.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.dataset.shards import shard_path, shard_slices


class StoredImages:
    """Some rows of an .npy file with uint8 (N, S, S, 3), in a given order."""

    def __init__(self, path: Path, rows: NDArray[np.int64], *, closing: ExitStack) -> None:
        """Open the file at `path`; it stays open until `closing` closes."""
        self._file = closing.enter_context(path.open("rb"))
        np.lib.format.read_magic(self._file)
        self.shape, _, _ = np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        self._rows = rows

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """Return one image, uint8 (S, S, 3)."""
        size = int(np.prod(self.shape[1:]))
        self._file.seek(self._start + int(self._rows[row]) * size)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self.shape[1:])


def write_shards(path: Path, images: StoredImages, rows: Sequence[int], *, shard_size: int) -> None:
    """Write rows of stored images, in this order, as .npy files of at most `shard_size` rows."""
    for number, part in enumerate(shard_slices(len(rows), shard_size)):
        _write_rows(shard_path(path, number), images, rows[part])


def _write_rows(path: Path, images: StoredImages, rows: Sequence[int]) -> None:
    header = {
        "descr": "|u1",
        "fortran_order": False,
        "shape": (len(rows), *images.shape[1:]),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row in rows:
            file.write(images[row].tobytes())
