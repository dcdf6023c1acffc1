"""The table of the cores of an array, which a person may correct, and the map of what they are."""

import csv
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.slides.cores import Core

COLUMNS = ("core", "row", "column", "x", "y", "diameter", "tissue", "image", "class", "donor")
MEASURED = ("x", "y", "diameter", "tissue")
LETTERS = 26
NAMED = 5  # places in a message


class Known(NamedTuple):
    """What the map says of a core; `donor` may be empty."""

    class_name: str
    donor: str = ""


Place = tuple[int, int]  # row and column, counted from 0


def core_name(row: int, column: int) -> str:
    """Return A1 for the first place; row 27 is AA."""
    letters = ""
    number = row + 1
    while number:
        number, letter = divmod(number - 1, LETTERS)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{column + 1}"


def write_cores(
    cores: Iterable[Core], path: Path, *, images: Mapping[Place, str], known: Mapping[Place, Known]
) -> None:
    """Write a row for each place, with the picture that was cut and what the map says."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for core in cores:
            place = (core.row, core.column)
            measured = [f"{getattr(core, name):.6g}" for name in MEASURED]
            position = (core_name(*place), core.row + 1, core.column + 1)
            table.writerow(
                (*position, *measured, images.get(place, ""), *known.get(place, Known("")))
            )


def read_cores(path: Path) -> list[Core]:
    """Read a table of `write_cores`, as it was or corrected.

    Raises:
        InputError: if a column is missing, a value is no number, or a place has two rows.
    """
    cores = dict[Place, Core]()
    for number, row in _rows(path, ("row", "column", *MEASURED)):
        place = _place(row, path, number)
        if place in cores:
            _refuse(path, number, f"a second row for {core_name(*place)}")
        try:
            core = Core(*place, *(float(row[name]) for name in MEASURED))
        except ValueError as error:
            _refuse(path, number, str(error))
        if not core.diameter > 0:
            _refuse(path, number, f"the diameter {row['diameter']}")
        cores[place] = core
    return [cores[place] for place in sorted(cores)]


def read_map(path: Path) -> dict[Place, Known]:
    """Read the map of an array, with the columns row, column, class and, if known, donor.

    Rows are letters or numbers from 1. Places without a class may be left out.

    Raises:
        InputError: if a column is missing, a place is none, or has two rows.
    """
    found = dict[Place, Known]()
    for number, row in _rows(path, ("row", "column", "class")):
        place = _place(row, path, number)
        if place in found:
            _refuse(path, number, f"a second row for {core_name(*place)}")
        if row["class"]:
            found[place] = Known(printable(row["class"]), printable(row.get("donor", "")))
    return found


def check_map(known: Mapping[Place, Known], cores: Iterable[Core], path: Path) -> None:
    """Check that each place of a map is on the array.

    Raises:
        InputError: if one is not: then all others may be shifted.
    """
    places = {(core.row, core.column) for core in cores}
    if outside := sorted(set(known) - places):
        rows, columns = (1 + max(place[axis] for place in places) for axis in (0, 1))
        raise InputError(
            f"{path}: expected places of an array of {rows} rows and {columns} columns. Received: "
            f"{', '.join(core_name(*place) for place in outside[:NAMED])}. Look at overlay.png: "
            "where a first row or column was not seen, add its places to cores.csv, and number all "
            "again; else correct the map."
        )


def _rows(path: Path, needed: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            table = csv.DictReader(file, delimiter=max(",;\t", key=header.count))
            names = [name.strip().lower() for name in table.fieldnames or ()]
            table.fieldnames = names
            if missing := [name for name in needed if name not in names]:
                raise InputError(
                    f"{path}: expected the columns {', '.join(needed)}. Received: "
                    f"{', '.join(names)}, without {', '.join(missing)}. Rename or add them."
                )
            return [
                (
                    table.line_num,
                    {
                        name: unicodedata.normalize("NFC", (row[name] or "").strip())
                        for name in names
                    },
                )
                for row in table
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a CSV file in UTF-8. Received: {error}. Correct the path, or save "
            "it as CSV UTF-8."
        ) from None


def _place(row: Mapping[str, str], path: Path, number: int) -> Place:
    at = row["row"].upper()
    if at.isascii() and at.isalpha():
        value = 0
        for letter in at:
            value = value * LETTERS + ord(letter) - ord("A") + 1
        at = str(value)
    column = row["column"]
    if not (at.isdecimal() and column.isdecimal() and int(at) > 0 and int(column) > 0):
        _refuse(path, number, f"row {row['row']!r}, column {column!r}")
    return int(at) - 1, int(column) - 1


def _refuse(path: Path, number: int, what: str) -> NoReturn:
    raise InputError(
        f"{path}, line {number}: expected one row for each place, rows as letters or numbers and "
        f"columns as numbers from 1, and measures as numbers. Received: {what}. Correct it."
    )
