"""The images of all sources in a table on disk, since there may be millions of them."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, NoReturn

from tissue.common.errors import InputError
from tissue.sources.archives import Member
from tissue.sources.file_names import check_source
from tissue.sources.layout import ImagePath

# `number` counts the files of a source. SQLite compares names by their UTF-8 bytes and Python by
# code points, which is the same order.
TABLES = """
CREATE TABLE files (source INTEGER, name TEXT, number INTEGER,
    PRIMARY KEY (source, name, number)) WITHOUT ROWID;
CREATE TABLE images (folded TEXT PRIMARY KEY, id TEXT, source INTEGER, name TEXT, number INTEGER)
    WITHOUT ROWID;
"""
Find = Callable[[int, str], Member]  # by number and name
Parse = Callable[[str], ImagePath | None]  # None for a file that is no image of a class


class SourceImage(NamedTuple):
    """An image or slide, the folder or archive it is in, its name there, and what reads its bytes.

    The name is empty in an archive that has to be unpacked.
    """

    id: str
    split: str
    class_name: str
    donor: str
    origin: Path
    name: str
    read: Callable[[], bytes]

    @property
    def path(self) -> Path | None:
        """Its place in a folder; None in an archive."""
        return self.origin / self.name if self.origin.is_dir() else None


class Listing:
    """The images of several sources, merged into one tree and sorted by id."""

    def __init__(self, stack: ExitStack) -> None:
        # Without a name it is a temporary file, of which SQLite holds 2 MB in memory.
        self._tables = stack.enter_context(closing(sqlite3.connect("")))
        self._tables.executescript(TABLES)
        self._sources: list[tuple[Path, Find]] = []
        self._parse: Parse = _not_yet

    def add(self, origin: Path, files: Iterable[tuple[int, str]], find: Find) -> None:
        """Add the images of a folder or of an archive, by number and name.

        Raises:
            InputError: if the manifest cannot name it.
        """
        check_source(origin.name)
        rows = ((len(self._sources), file, number) for number, file in files)
        self._tables.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
        self._sources.append((origin, find))

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
                    f"{image.origin.name}: expected one image per name. Received: a {image.id} "
                    f"that differs from {other.id} in {other.origin.name}. Rename one of them."
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
        parsed = self._parse(file)
        if parsed is None:
            return None
        origin, find = self._sources[source]
        member = find(number, file)
        return SourceImage(*parsed, origin, member.stored, member.read)


def _not_yet(name: str) -> NoReturn:
    raise AssertionError(f"{name} has no id before assign_ids")
