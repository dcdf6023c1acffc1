"""The files of `data/raw`: images in few zip files, and the manifest that describes them.

`tissue/data/raw.py` reads them.
"""

import csv
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tissue.common.names import MANIFEST, one_line

PROVENANCE = ("url", "licence", "release", "credit")  # where the source knows it
SHARD_BYTES = 1_000_000_000
SHARD_IMAGES = 12_500  # reading or writing a zip takes 1 kB of memory per image in it
Row = dict[str, str | int]


class Source(NamedTuple):
    """The number of images, their classes, and the row and bytes of each, sorted by id."""

    total: int
    classes: list[str]
    images: Iterable[tuple[Row, bytes]]


def write_raw(source: Source, out: Path, *, copy: bool) -> None:
    """Write `manifest.csv` to the folder `out` and, with `copy`, `images-<number>.zip`.

    Without a copy, the rows of the source have to say where each image is: `origin` and `member`.
    """
    rows = _write_images(source, out) if copy else _digest_images(source)
    first = next(rows)
    columns = [*MANIFEST, "sha256", "bytes", *(name for name in PROVENANCE if name in first)]
    if not copy:
        columns.insert(columns.index("file") + 1, "member")
    # Row by row: a table of all images would grow with their number.
    with (out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(chain([first], rows))


def _write_images(source: Source, out: Path) -> Iterator[Row]:
    """Write the images one by one, and yield the row of each."""
    images = _with_progress(source)
    for number, first in enumerate(images):
        file = f"images-{number:03d}.zip"
        with zipfile.ZipFile(out / file, "w") as shard:
            for row, content in _one_shard(chain([first], images)):
                # A new ZipInfo has a fixed date: the same images give the same bytes.
                shard.writestr(zipfile.ZipInfo(str(row["id"])), content)
                yield _with_digest(row, file, content)


def _digest_images(source: Source) -> Iterator[Row]:
    """Read the images one by one, and yield the row of each."""
    for row, content in _with_progress(source):
        yield _with_digest(row, str(row["origin"]), content)


def _with_progress(source: Source) -> Iterator[tuple[Row, bytes]]:
    return iter(tqdm(source.images, "fetch", source.total, unit="image", disable=None))


def _with_digest(row: Row, file: str, content: bytes) -> Row:
    digest = hashlib.sha256(content).hexdigest()
    row = {
        name: one_line(value) if isinstance(value, str) else value for name, value in row.items()
    }
    return {**row, "file": file, "sha256": digest, "bytes": len(content)}


def _one_shard(images: Iterable[tuple[Row, bytes]]) -> Iterator[tuple[Row, bytes]]:
    """Yield images until a zip file is full."""
    written = 0
    for count, (row, content) in enumerate(images, 1):
        yield row, content
        written += len(content)
        if written >= SHARD_BYTES or count >= SHARD_IMAGES:
            return
