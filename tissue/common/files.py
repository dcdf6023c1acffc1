"""Atomic writing of files and folders, CSV and JSON in one format, and errors of reading them."""

import errno
import hashlib
import json
import os
import shutil
import stat
import struct
import textwrap
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissue.common.errors import InputError

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd

SMALL = 1_000_000  # bytes of params.yaml or dvc.lock, of which reading YAML takes seconds
# What readers of CSV, JSON, NumPy, zip and PNG raise for other content
DAMAGED = (
    ValueError, LookupError, TypeError, ArithmeticError, EOFError, NotImplementedError,
    RecursionError, SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@contextmanager
def atomic_write(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; it is moved to `path` on success.

    A folder is replaced by a folder only, never by a file. After an error, `path` is unchanged and
    nothing is left beside it. Leftovers of a killed run are removed by the next one, unless the
    path is `shared` with other processes, which may write it at the same time: the last one wins.
    """
    owner = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f".{path.name}{owner}.partial")
    previous = path.with_name(f".{path.name}.previous")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(partial)
    try:
        yield partial
        if path.is_dir() and partial.is_dir():
            # A folder that is not empty cannot be replaced in one step.
            _remove(previous)
            path.replace(previous)
        partial.replace(path)
    finally:
        if previous.exists() and not path.exists():
            # An error occurred between the two moves, now or in a run that was killed.
            previous.replace(path)
        _remove(partial)
        _remove(previous)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a CSV with six significant digits and Unix line ends."""
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def write_json(value: Any, path: Path) -> None:
    """Write JSON with sorted keys and floats rounded to four decimals.

    Raises:
        ValueError: if a number is not finite.
    """
    text = json.dumps(_rounded(value), indent=2, sort_keys=True, allow_nan=False)
    write_text(text + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a text in UTF-8 with Unix line ends: the same bytes on Windows."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    # Adding zero turns -0.0, which would count as a change, into 0.0.
    return round(float(value), 4) + 0.0 if isinstance(value, float) else value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a reader raises for a damaged file into an error that names the file.

    Raises:
        InputError: for content that no stage wrote. Errors of the system stay what they are.
    """
    try:
        yield
    except InputError:
        raise
    except (*DAMAGED, OSError) as error:
        # Places that lie outside of the file end in an invalid argument.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        raise InputError(
            f"{path}: expected it as a stage wrote it. Received: {why}. It is damaged, or another "
            "file: run `dvc checkout --force` to have what dvc.lock names, or `dvc repro`."
        ) from None


def read_small(path: Path, *, most: int = SMALL) -> bytes:
    """Return the bytes of a file that people write, or that a clone of others holds.

    Raises:
        InputError: if it is larger, or is no file: reading a pipe or a device need not end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{path}: expected a file. Received: a folder, a pipe or a device.")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{path}: expected at most {most:,} bytes. Received: more.")
    return content


def read_json(path: Path, kind: type = dict) -> Any:
    """Read a JSON file that holds an object, or a value of another kind.

    Raises:
        InputError: if it is damaged.
    """
    with reading(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, kind):
            raise TypeError(f"a {type(value).__name__} instead of a {kind.__name__}")
        return value


def flat_metrics(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested metrics as one object, with keys such as `pretrained.test.accuracy`."""
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        name: value
        for key, item in values.items()
        for name, value in flat_metrics(item, f"{prefix}.{key}".lstrip(".")).items()
    }


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
