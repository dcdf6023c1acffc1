"""Classes, splits and donors of images from a table: `fetch.labels`."""

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.common.names import numbered, one_line, printable
from tissue.config.fetch import Labels
from tissue.slides.opening import is_slide
from tissue.sources.file_names import IMAGE_SUFFIXES, check_cells
from tissue.sources.folder_names import check_spelling, name_splits
from tissue.sources.layout import ImagePath, draw_tree

SEVERAL = -1  # in place of a row number: rows whose names differ in their suffixes only
EXAMPLES = 3  # names in a message
ONE_HOT = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
OME = ".ome"  # before .tif or .tiff


class Label(NamedTuple):
    """What a row says of an image; `split` and `donor` may be empty."""

    name: str
    class_name: str
    split: str
    donor: str


class LabelTable:
    """A table that names images by path, file name or stem, each with a class."""

    def __init__(self, settings: Labels) -> None:
        self.path = Path(settings.table)
        self._rows = _read_rows(settings, self.path)
        self._keys = _keys_of(self._rows, self.path)
        self._start = 0  # letters of the folders that all images share

    def parse(self, name: str) -> ImagePath | None:
        """Return what the table says of an image, or None if it has no row."""
        row = self._find(name)
        if row is None:
            return None
        label = self._rows[row]
        below = unicodedata.normalize("NFC", name[self._start :])
        id_ = f"{label.split}/{below}" if label.split else below
        return ImagePath(id_, label.split, label.class_name, label.donor)

    def check(self, images: Iterable[str], *, source: str) -> list[str]:
        """Compare the table with the names of all images, and return what to print of it.

        Raises:
            InputError: if no image has a row, or two have the same.
        """
        used, without, folders = dict[int, str](), list[str](), set[str]()
        for name in images:
            row = self._find(name)
            if row is None:
                without.append(name)
                continue
            if row in used:
                raise InputError(
                    f"{self.path}: expected one image for each row. Received: {used[row]} and "
                    f"{name} for {self._rows[row].name!r}. Write paths to the table, or name the "
                    "folder of the images in fetch.source."
                )
            used[row] = name
            folders.add(name.rpartition("/")[0])
        if not used:
            raise InputError(
                f"{self.path}: expected the names of the images in {source}. Received: none of "
                f"them, e.g. {self._rows[0].name!r} for {without[0] if without else 'no image'!r}. "
                "Correct fetch.labels.image in params.yaml."
            )
        shared = os.path.commonpath(folders) if "" not in folders else ""
        self._start = len(shared) + 1 if shared else 0
        check_spelling({label.class_name for label in self._rows}, str(self.path))
        return self._describe(used, without)

    def _describe(self, used: dict[int, str], without: list[str]) -> list[str]:
        counts = Counter((self._rows[row].split, self._rows[row].class_name) for row in used)
        lines = draw_tree(counts, f"<image> with a row in {self.path}", {})
        if without:
            lines.append(f"  left out: {_number(without, 'image')} without a row")
        missing = [label.name for row, label in enumerate(self._rows) if row not in used]
        if missing:
            lines.append(f"  no image for {_number(missing, 'row')}")
        return lines

    def _find(self, name: str) -> int | None:
        for key in _spellings(name):
            if (row := self._keys.get(key)) is not None:
                if row == SEVERAL:
                    raise InputError(
                        f"{self.path}: expected one row for each image. Received: several for "
                        f"{name}, whose names differ in their suffixes. Delete all but one."
                    )
                return row
        return None


def _spellings(name: str) -> Iterator[str]:
    """Yield how a table may call an image, with fewer and fewer folders, and without suffix."""
    parts = PurePosixPath(unicodedata.normalize("NFC", name)).parts
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        yield tail
        yield _stem(tail)


def _stem(name: str) -> str:
    start, dot, suffix = name.rpartition(".")
    if f"{dot}{suffix}".lower() not in IMAGE_SUFFIXES and not is_slide(name):
        return name
    return start[: -len(OME)] if start.lower().endswith(OME) else start


def _keys_of(rows: list[Label], path: Path) -> dict[str, int]:
    keys = dict[str, int]()
    for number, label in enumerate(rows):
        if label.name in keys and keys[label.name] != SEVERAL:
            raise InputError(
                f"{path}: expected one row for each image. Received: several for {label.name!r}. "
                "Delete all but one."
            )
        keys[label.name] = number
    for number, label in enumerate(rows):
        stem = _stem(label.name)
        if stem != label.name:
            keys[stem] = SEVERAL if stem in keys else number
    return keys


def _read_rows(settings: Labels, path: Path) -> list[Label]:
    """Return the rows that have a label, each once."""
    columns = settings.model_dump(include={"image", "split", "group"}, exclude_none=True)
    labels = [settings.label] if isinstance(settings.label, str) else settings.label
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            # Of comma, semicolon and tab, the one that the header has most often
            table = csv.DictReader(file, delimiter=max(",;\t", key=header.count))
            table.fieldnames = [name.strip() for name in table.fieldnames or ()]
            used = [*columns.items(), *(("label", column) for column in labels)]
            _check_columns(table.fieldnames, used, path)
            cells = [{name: (row[name] or "").strip() for _, name in used} for row in table]
    except FileNotFoundError:
        raise InputError(
            f"fetch.labels.table: expected a CSV file. Received: {path}, which does not exist, "
            f"seen from {Path.cwd()}. Correct the path in params.yaml."
        ) from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(
            f"{path}: expected a CSV file in UTF-8. Received: {error}. In Excel, save it as "
            "'CSV UTF-8'."
        ) from None
    found = [{what: row[column] for what, column in columns.items()} for row in cells]
    classes = _read_classes([[row[name] for name in labels] for row in cells], settings)
    splits = _read_splits({row.get("split", "") for row in found}, path)
    rows = dict.fromkeys(
        Label(
            _name(row["image"]),
            one_line(unicodedata.normalize("NFC", class_name)),
            splits[row.get("split", "")],
            one_line(unicodedata.normalize("NFC", row.get("group", ""))),
        )
        for row, class_name in zip(found, classes, strict=True)
        if row["image"] and class_name
    )
    _check_rows(list(rows), path, total=len(found))
    return list(rows)


def _read_classes(cells: list[list[str]], settings: Labels) -> list[str]:
    """Return the class of each row, from its cells in the columns of labels; it may be empty."""
    if isinstance(settings.label, str):
        labels = [label for (label,) in cells]
    else:
        marked = [[ONE_HOT.get(cell.lower()) for cell in row] for row in cells]
        for number, (row, marks) in enumerate(zip(cells, marked, strict=True), start=2):
            if None in marks or marks.count(True) != 1:
                raise InputError(
                    f"{settings.table}: expected a 1 in one of the columns of fetch.labels.label, "
                    f"and 0 in all others. Received: {', '.join(map(repr, row))} in row {number}. "
                    "Correct it, list all columns of classes, or name one column with the class."
                )
        labels = [settings.label[marks.index(True)] for marks in marked]
    if settings.names is None:
        return labels
    names = {"": "", **{str(label): name for label, name in settings.names.items()}}
    if unnamed := sorted(set(labels) - names.keys()):
        raise InputError(
            f"fetch.labels.names: expected a name for each label of {settings.table}. Received: "
            f"none for {', '.join(map(repr, unnamed[:EXAMPLES]))}. Add it in params.yaml."
        )
    return [names[label] for label in labels]


def _check_rows(rows: list[Label], path: Path, *, total: int) -> None:
    if not rows:
        raise InputError(
            f"{path}: expected rows with an image and a label. Received: {total} rows, none "
            "with both. Correct fetch.labels in params.yaml."
        )
    for label in rows:
        check_cells(label, source=str(path))


def _name(value: str) -> str:
    return unicodedata.normalize("NFC", value).replace("\\", "/").removeprefix("./")


def _check_columns(header: Iterable[str], columns: list[tuple[str, str]], path: Path) -> None:
    for what, column in columns:
        if column not in header:
            raise InputError(
                f"fetch.labels.{what}: expected a column of {path}. Received: {column!r}; the "
                f"columns are {', '.join(map(repr, header))}. Correct it in params.yaml."
            )


def _read_splits(values: set[str], path: Path) -> dict[str, str]:
    """Return train, val, test or an empty text for each value of the column of splits."""
    splits = name_splits(values - {""})
    if wrong := sorted(value for value, split in splits.items() if not split):
        raise InputError(
            f"{path}: expected splits called train, validation or test in the column of "
            f"fetch.labels.split. Received: {', '.join(map(repr, wrong[:EXAMPLES]))}. Rename them, "
            "or leave the key out."
        )
    return {**splits, "": ""}


def _number(names: list[str], what: str) -> str:
    shown = ", ".join(map(printable, sorted(names)[:EXAMPLES]))
    return f"{numbered(len(names), what)} (e.g. {shown})"
