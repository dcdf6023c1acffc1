"""From the paths of a source's files to images with a class and, where given, a split."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from stages.cli.running import InputError
from stages.sources.names import IMAGE_SUFFIXES, check_text, is_image

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Place:
    """Where an image stands: its id (`train/colon/a.jpg` or `colon/a.jpg`), split and class.

    Ids are in Unicode's composed form (NFC), in which macOS does not write them.
    """

    id: str
    split: str
    class_name: str


def place_images(paths: Iterable[str], *, source: str) -> dict[str, Place]:
    """Return the place of each image among `paths`, which use `/`; other files are left out.

    Understood are `[anything/]train/<class>/<image>` and `[anything/]test/<class>/<image>`, or
    `[anything/]<class>/<image>` with no test set.

    Raises:
        InputError: if there is no image, an image that fits neither layout, a name that is no
            text, or a class that is spelled in two ways.
    """
    images = sorted(path for path in paths if is_image(path))
    if not images:
        raise InputError(
            f"{source}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) as "
            f"[train|test]/<class>/<image>. Received: none. Check fetch.source in params.yaml."
        )
    with_splits = any(_names_split(path) for path in images)
    for path in images:
        check_text(path, source=source)
    places = {path: _place(path, with_splits=with_splits) for path in images}
    misplaced = [path for path, place in places.items() if place is None]
    if misplaced:
        wanted = (
            "train/<class>/<image> and test/<class>/<image>" if with_splits else "<class>/<image>"
        )
        raise InputError(
            f"{source}: expected every image as {wanted}. Received: {len(misplaced)} elsewhere, "
            f"e.g. {', '.join(misplaced[:3])}. Move them or take them out."
        )
    found = {path: place for path, place in places.items() if place is not None}
    _check_spelling({place.class_name for place in found.values()}, source)
    return found


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


def _place(path: str, *, with_splits: bool) -> Place | None:
    parts = PurePosixPath(unicodedata.normalize("NFC", path)).parts
    if with_splits:
        if not _names_split(path):
            return None
        split = parts[-3].lower()
        return Place("/".join((split, *parts[-2:])), split, parts[-2])
    if len(parts) < 2:
        return None
    return Place("/".join(parts[-2:]), "", parts[-2])
