"""From the paths of a source's files to images with a class and, where given, a split."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.common.names import TISSUES

SPLITS = ("train", "test")
OTHER_SPLITS = {"training", "trains", "testing", "tests", "val", "valid", "validation"}
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
PACKED_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
MAX_LENGTH = 1000  # characters of a name
DRIVE_LETTER = re.compile(r"[A-Za-z]:")


class ImagePath(NamedTuple):
    """What a path says of an image: id (`train/colon/a.jpg` or `colon/a.jpg`), split and class.

    They are in Unicode's composed form (NFC), in which macOS does not write names.
    """

    id: str
    split: str
    class_name: str


def parse_path(path: str, *, with_splits: bool) -> ImagePath:
    """Return what a path says of its image, given a layout that was checked."""
    parts = PurePosixPath(unicodedata.normalize("NFC", path)).parts
    split = parts[-3].lower() if with_splits else ""
    return ImagePath("/".join(filter(None, (split, *parts[-2:]))), split, parts[-2])


def check_layout(images: Iterable[str], *, source: str) -> bool:
    """Return whether images are below train/ and test/.

    Accepted are `[anything/]train/<class>/<image>` and `[anything/]test/<class>/<image>`, or
    `[anything/]<class>/<image>` with no test set.

    Args:
        images: their names, each once.
        source: what messages call the source.

    Raises:
        InputError: if there is no image, an image that fits neither layout, images below those of
            a class, or a class that is spelled in two ways.
    """
    counts, examples = Counter[PurePosixPath](), dict[PurePosixPath, str]()
    for name in images:
        folder = PurePosixPath(name).parent
        counts[folder] += 1
        examples.setdefault(folder, name)
    if not counts:
        raise InputError(
            f"{source}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) as "
            f"[train|test]/<class>/<image>. Received: none. Check fetch.source in params.yaml."
        )
    with_splits = any(map(_is_in_split, counts))
    wrong = [one for one in counts if not (_is_in_split(one) if with_splits else one.name)]
    if wrong:
        layout = "train/<class>/<image> and test/<class>/<image>"
        raise InputError(
            f"{source}: expected every image as {layout if with_splits else '<class>/<image>'}. "
            f"Received: {sum(counts[one] for one in wrong)} elsewhere, "
            f"e.g. {', '.join(examples[one] for one in wrong[:3])}. Move them or take them out."
        )
    _check_depth(counts, source)
    _check_spelling({unicodedata.normalize("NFC", folder.name) for folder in counts}, source)
    if not with_splits:
        _check_parents(counts, source)
    return with_splits


def _is_in_split(folder: PurePosixPath) -> bool:
    return folder.parent.name.lower() in SPLITS


def _check_depth(folders: Collection[PurePosixPath], source: str) -> None:
    for folder in sorted(folders):
        for parent in folder.parents:
            if parent in folders:
                raise InputError(
                    f"{source}: expected images of a class in one folder. Received: some in "
                    f"{parent} and others below it, in {folder}. Move them up or take them out."
                )


def _check_spelling(classes: set[str], source: str) -> None:
    for name, other in pairwise(sorted(classes, key=lambda name: (name.casefold(), name))):
        if name.casefold() == other.casefold():
            raise InputError(
                f"{source}: expected one spelling of each class. Received: {name} and {other}. "
                "Rename one of the folders."
            )


def _check_parents(folders: Collection[PurePosixPath], source: str) -> None:
    """Refuse folders of classes below those of splits, or below what may be the classes."""
    for folder in sorted(folders):
        if any(part.lower() in SPLITS for part in folder.parts):
            # The images of train and test would be mixed.
            raise InputError(
                f"{source}: expected images as train/<class>/<image>. Received: some in {folder}. "
                "Put all images of a class into one folder, and give donors by split.metadata or "
                "split.group_pattern; or, where the folder is neither training nor test set, "
                "name the one below it as the source."
            )
    below: dict[str, set[str]] = {}
    for folder in folders:
        if len(folder.parts) > 1:
            below.setdefault(folder.parent.name, set()).add(folder.name)
    splits = sorted(name for name in below if name.lower() in OTHER_SPLITS)
    if splits and len(below) > 1:
        raise InputError(
            f"{source}: expected training and test in the folders train and test, validation in "
            f"train. Received: {', '.join(sorted(below))}, which would be mixed. Rename "
            f"{', '.join(splits)}, or move the images."
        )
    classes = set[str]().union(*below.values())
    each_once = len(below) < len(classes) == sum(map(len, below.values()))
    tissues = below.keys() <= TISSUES.keys()
    if len(below) > 1 and (each_once or tissues):
        raise InputError(
            f"{source}: expected classes in one folder, or the same ones in several. Received: "
            f"{', '.join(sorted(below)[:3])}{', which are tissues' if tissues else ''}, and below "
            f"them {', '.join(sorted(classes)[:3])}{'' if tissues else ' and others, each once'}. "
            "If the upper ones are the classes, move the images up to them, and give donors by "
            "split.metadata or split.group_pattern; if the lower ones are, put them together."
        )


def check_inside(name: str, *, source: str) -> None:
    """Raise an `InputError` if a name leads out of the folder it would be unpacked in."""
    if name.startswith("/") or DRIVE_LETTER.match(name) or ".." in name.split("/"):
        raise InputError(
            f"{source}: expected names inside the archive. Received: {name!r}, which leads out of "
            "it: it may be an attack. Do not use this archive."
        )


def check_text(name: str, *, source: str) -> None:
    """Raise an `InputError` if a name cannot be written to a table and read back."""
    kinds = {unicodedata.category(letter) for letter in name}
    if kinds & {"Cc", "Cs"} or len(name) > MAX_LENGTH:
        raise InputError(
            f"{source}: expected names of images in UTF-8, without control characters, of at most "
            f"{MAX_LENGTH} characters. Received: {name[:80]!r}. Rename it."
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
    """Return whether a path is hidden, or a resource fork of macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_image(name: str) -> bool:
    """Return whether a path names an image that is not hidden."""
    return not reason_left_out(name)
