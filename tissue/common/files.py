"""Atomic writing of files and folders, and CSV and JSON in one format."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; it is moved to `path` on success.

    A folder is replaced by a folder only, never by a file. After an error, `path` is unchanged and
    nothing is left beside it. Leftovers of a killed run are removed by the next one.
    """
    partial = path.with_name(f".{path.name}.partial")
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
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    # Adding zero turns -0.0, which would count as a change, into 0.0.
    return round(float(value), 4) + 0.0 if isinstance(value, float) else value


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
