"""From the paths of a source's files to images with a class and, where given, a split."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.common.names import TISSUES

SPLITS = ("train", "test")
OTHER_SPLITS = {"training", "trains", "testing", "tests", "val", "valid", "validation"}


class Place(NamedTuple):
    """Where an image stands: its id (`train/colon/a.jpg` or `colon/a.jpg`), split and class.

    Ids are in Unicode's composed form (NFC), in which macOS does not write them.
    """

    id: str
    split: str
    class_name: str


def check_layout(images: Iterable[str], *, source: str) -> bool:
    """Say whether images stand below train/ and test/.

    Understood are `[anything/]train/<class>/<image>` and `[anything/]test/<class>/<image>`, or
    `[anything/]<class>/<image>` with no test set.

    Args:
        images: their names, each once and sorted; gone through twice.
        source: what is told of, in words.

    Raises:
        InputError: if there is no image, an image that fits neither layout, images below those of
            a class, or a class that is spelled in two ways.
    """
    layouts = {_names_split(name) for name in images}
    if not layouts:
        raise InputError(
            f"{source}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) as "
            f"[train|test]/<class>/<image>. Received: none. Check fetch.source in params.yaml."
        )
    with_splits = True in layouts
    classes, misplaced, examples = set[str](), 0, list[str]()
    folders = set[PurePosixPath]()
    for name in images:
        folders.add(PurePosixPath(name).parent)
        if place := place_of(name, with_splits=with_splits):
            classes.add(place.class_name)
        else:
            misplaced += 1
            examples = [*examples, name][:3]
    if misplaced:
        wanted = (
            "train/<class>/<image> and test/<class>/<image>" if with_splits else "<class>/<image>"
        )
        raise InputError(
            f"{source}: expected every image as {wanted}. Received: {misplaced} elsewhere, "
            f"e.g. {', '.join(examples)}. Move them or take them out."
        )
    _check_depth(folders, source)
    _check_spelling(classes, source)
    if not with_splits:
        _check_above(folders, source)
    return with_splits


def _check_depth(folders: set[PurePosixPath], source: str) -> None:
    for folder in sorted(folders):
        for above in folder.parents:
            if above in folders:
                raise InputError(
                    f"{source}: expected images of a class in one folder. Received: some in "
                    f"{above} and others below it, in {folder}. Move them up or take them out."
                )


def _check_above(folders: set[PurePosixPath], source: str) -> None:
    """Refuse folders above those of classes that are splits, or the classes themselves."""
    for folder in sorted(folders):
        if any(part.lower() in SPLITS for part in folder.parts):
            # What is below train and test would be mixed.
            raise InputError(
                f"{source}: expected images as train/<class>/<image>. Received: some in {folder}. "
                "Put all images of a class into one folder, and tell donors by split.metadata or "
                "split.group_pattern; or, where the folder is neither training nor test set, "
                "name the one below it as the source."
            )
    above: dict[str, set[str]] = {}
    for folder in folders:
        if len(folder.parts) > 1:
            above.setdefault(folder.parts[-2], set()).add(folder.name)
    splits = sorted(name for name in above if name.lower() in OTHER_SPLITS)
    if splits and len(above) > 1:
        raise InputError(
            f"{source}: expected training and test in the folders train and test, validation in "
            f"train. Received: {', '.join(sorted(above))}, which would be mixed. Rename "
            f"{', '.join(splits)}, or move the images."
        )
    classes = set[str]().union(*above.values())
    each_once = len(above) < len(classes) == sum(map(len, above.values()))
    tissues = above.keys() <= TISSUES.keys()
    if len(above) > 1 and (each_once or tissues):
        upper, lower = sorted(above), sorted(classes)
        raise InputError(
            f"{source}: expected classes in one folder, or the same ones in several. Received: "
            f"{', '.join(upper[:3])}{', which are tissues' if tissues else ''}, and below them "
            f"{', '.join(lower[:3])}{'' if tissues else ' and others, each once'}. "
            "If the upper ones are the classes, move the images up to them, and tell donors by "
            "split.metadata or split.group_pattern; if the lower ones are, put them together."
        )


def _check_spelling(classes: set[str], source: str) -> None:
    spelled: dict[str, str] = {}
    for name in sorted(classes):
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"{source}: expected one spelling of each class. Received: {other} and {name}. "
                "Rename one of the folders."
            )


def _names_split(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) >= 3 and parts[-3].lower() in SPLITS


def place_of(path: str, *, with_splits: bool) -> Place | None:
    """Return where an image stands, or None if that does not fit the layout."""
    parts = PurePosixPath(unicodedata.normalize("NFC", path)).parts
    if with_splits:
        if not _names_split(path):
            return None
        split = parts[-3].lower()
        return Place("/".join((split, *parts[-2:])), split, parts[-2])
    if len(parts) < 2:
        return None
    return Place("/".join(parts[-2:]), "", parts[-2])


IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
PACKED_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
LONGEST = 1000  # characters
_DRIVE = re.compile(r"[A-Za-z]:")


def with_slashes(name: str) -> str:
    """Return a name with `/` between its parts; archives packed on Windows may have backslashes."""
    return name.replace("\\", "/")


def check_inside(name: str, *, source: str) -> None:
    """Raise an `InputError` if a name leads out of the folder it would be unpacked in."""
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        raise InputError(
            f"{source}: expected names inside the archive. Received: {name!r}, which leads out of "
            "it: it may be an attack. Do not use this archive."
        )


def check_text(name: str, *, source: str) -> None:
    """Raise an `InputError` if a name cannot be written in a table and read back."""
    kinds = {unicodedata.category(letter) for letter in name}
    if kinds & {"Cc", "Cs"} or len(name) > LONGEST:
        raise InputError(
            f"{source}: expected names of images in UTF-8, without control characters, of at most "
            f"{LONGEST} characters. Received: {name[:80]!r}. Rename it."
        )


def reason_left_out(name: str) -> str:
    """Return why a file is no image of the source, by its name alone; empty for an image."""
    if is_hidden(name):
        return "hidden file"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in PACKED_SUFFIXES:
        return "archive inside"
    return "" if suffix in IMAGE_SUFFIXES else "other file"


def is_hidden(name: str) -> bool:
    """Whether a path in a source is hidden, or a resource fork of macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_image(name: str) -> bool:
    """Whether a path names an image, and is not hidden or a resource fork of macOS."""
    return not reason_left_out(name)
