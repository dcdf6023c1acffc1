"""The images of all sources in a table on disk, since there may be millions of them."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from tissue.common.errors import InputError
from tissue.sources.layout import ImagePath

# `number` counts the files of a source. SQLite compares names by their UTF-8 bytes and Python by
# code points, which is the same order.
TABLES = """
CREATE TABLE files (source INTEGER, name TEXT, number INTEGER,
    PRIMARY KEY (source, name, number)) WITHOUT ROWID;
CREATE TABLE images (folded TEXT PRIMARY KEY, id TEXT, source INTEGER, name TEXT, number INTEGER)
    WITHOUT ROWID;
"""
ReadFile = Callable[[int, str], bytes]  # by number and name
Parse = Callable[[str], ImagePath | None]  # None for a file that is no image of a class


class SourceImage(NamedTuple):
    """An image or slide, the name of its source, what reads its bytes, and its place in a folder.

    Where the source is an archive, `path` is None.
    """

    id: str
    split: str
    class_name: str
    donor: str
    source: str
    read: Callable[[], bytes]
    path: Path | None


class Listing:
    """The images of several sources, merged into one tree and sorted by id."""

    def __init__(self, stack: ExitStack) -> None:
        # Without a name it is a temporary file, of which SQLite holds 2 MB in memory.
        self._tables = stack.enter_context(closing(sqlite3.connect("")))
        self._tables.executescript(TABLES)
        self._sources: list[tuple[str, ReadFile, Path | None]] = []
        self._parse: Parse = _not_yet

    def add(
        self, name: str, read: ReadFile, files: Iterable[tuple[int, str]], folder: Path | None
    ) -> None:
        """Add the images of a folder, or of an archive, by number and name."""
        rows = ((len(self._sources), file, number) for number, file in files)
        self._tables.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
        self._sources.append((name, read, folder))

    def names(self) -> Iterator[str]:
        """Yield all names, each once and sorted."""
        rows = self._tables.execute("SELECT DISTINCT name FROM files ORDER BY name")
        return (name for (name,) in rows)

    def assign_ids(self, parse: Parse) -> None:
        """Give each image its id; an image that several sources have is listed once.

        Raises:
            InputError: if two different images would have one id.
        """
        self._parse = parse
        # By source first: the first one that has an image gives its name.
        for row in self._tables.execute("SELECT * FROM files ORDER BY source, name, number"):
            image = self._image(*row)
            if image is None:
                continue
            # Where file names ignore case, one of the two files would replace the other.
            folded = image.id.casefold()
            insert = "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?)"
            if self._tables.execute(insert, (folded, image.id, *row)).rowcount:
                continue
            find = "SELECT source, name, number FROM images WHERE folded = ?"
            other = self._image(*self._tables.execute(find, (folded,)).fetchone())
            if other is not None and image.read() != other.read():
                raise InputError(
                    f"{image.source}: expected one image per name. Received: a {image.id} that "
                    f"differs from {other.id} in {other.source}. Rename one of them."
                )

    def __len__(self) -> int:
        return self._tables.execute("SELECT COUNT(*) FROM images").fetchone()[0]

    def __iter__(self) -> Iterator[SourceImage]:
        rows = self._tables.execute("SELECT source, name, number FROM images ORDER BY id")
        return (image for row in rows if (image := self._image(*row)) is not None)

    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted({image.class_name for image in self})

    def _image(self, source: int, file: str, number: int) -> SourceImage | None:
        name, read, folder = self._sources[source]
        parsed = self._parse(file)
        if parsed is None:
            return None
        path = None if folder is None else folder / file
        return SourceImage(*parsed, name, partial(read, number, file), path)


def _not_yet(name: str) -> NoReturn:
    raise AssertionError(f"{name} has no id before assign_ids")
