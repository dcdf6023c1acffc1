"""The images of all sources in a table that lies on the disk: there may be millions of them."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.sources.layout import Place, place_of

# `number` counts the files of a source. Names are compared by their UTF-8 bytes, as Python does by
# code points, which is the same order.
TABLES = """
CREATE TABLE files (source INTEGER, name TEXT, number INTEGER,
    PRIMARY KEY (source, name, number)) WITHOUT ROWID;
CREATE TABLE images (folded TEXT PRIMARY KEY, id TEXT, source INTEGER, name TEXT, number INTEGER)
    WITHOUT ROWID;
"""


class Origin(NamedTuple):
    """A folder or archive: its name, and what reads a file by its number and name there."""

    name: str
    read: Callable[[int, str], bytes]


class Image(NamedTuple):
    """An image of a source: where it stands, what it comes from, and how to read its bytes."""

    place: Place
    origin: str
    read: Callable[[], bytes]


class Listing:
    """The images of several sources, merged into one tree and sorted by id."""

    def __init__(self, stack: ExitStack) -> None:
        """Open a table that is gone when `stack` closes."""
        # Without a name it is a temporary file, of which SQLite holds 2 MB in memory.
        self._tables = stack.enter_context(closing(sqlite3.connect("")))
        self._tables.executescript(TABLES)
        self._origins: list[Origin] = []
        self._with_splits = False

    def add(self, origin: Origin, files: Iterable[tuple[int, str]]) -> None:
        """Take the images of a source, by number and name."""
        source = len(self._origins)
        self._origins.append(origin)
        rows = ((source, name, number) for number, name in files)
        self._tables.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)

    @property
    def names(self) -> "Names":
        """All names, each once and sorted, to be gone through any number of times."""
        return Names(self._tables)

    def arrange(self, *, with_splits: bool) -> None:
        """Give each image its id; what is in several sources is taken once.

        Raises:
            InputError: if two different images would have one id.
        """
        self._with_splits = with_splits
        files = self._tables.execute("SELECT name, source, number FROM files ORDER BY 2, 1, 3")
        for name, source, number in files:
            image = self._image(name, source, number)
            # Where upper and lower case are one, one of the two files would replace the other.
            row = (image.place.id.casefold(), image.place.id, source, name, number)
            insert = "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?)"
            if not self._tables.execute(insert, row).rowcount:
                find = "SELECT name, source, number FROM images WHERE folded = ?"
                other = self._image(*self._tables.execute(find, row[:1]).fetchone())
                _check_same(image, other)

    def __len__(self) -> int:
        """Return the number of images."""
        return self._tables.execute("SELECT COUNT(*) FROM images").fetchone()[0]

    def __iter__(self) -> Iterator[Image]:
        """Go through the images by id."""
        rows = self._tables.execute("SELECT name, source, number FROM images ORDER BY id")
        return (self._image(*row) for row in rows)

    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted({image.place.class_name for image in self})

    def _image(self, name: str, source: int, number: int) -> Image:
        place = place_of(name, with_splits=self._with_splits)
        assert place is not None, "the layout was checked"
        origin = self._origins[source]
        return Image(place, origin.name, partial(origin.read, number, name))


class Names:
    """The names in a listing."""

    def __init__(self, tables: sqlite3.Connection) -> None:
        """Take the tables."""
        self._tables = tables

    def __iter__(self) -> Iterator[str]:
        """Go through them in order."""
        rows = self._tables.execute("SELECT DISTINCT name FROM files ORDER BY name")
        return (name for (name,) in rows)


def _check_same(image: Image, other: Image) -> None:
    if image.read() != other.read():
        raise InputError(
            f"{image.origin}: expected one image a name. Received: a {image.place.id} that differs "
            f"from {other.place.id} in {other.origin}. Rename one of them."
        )
