"""From the paths of a source's files to images with a class and, where given, a split."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from stages.cli.running import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Place:
    """Where an image stands: its id (`train/colon/a.jpg` or `colon/a.jpg`), split and class."""

    id: str
    split: str
    class_name: str


def is_image(path: str) -> bool:
    """Whether a path names an image, and is not hidden or a resource fork of macOS."""
    parts = PurePosixPath(path).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def place_images(paths: Iterable[str], *, source: str) -> dict[str, Place]:
    """Return the place of each image among `paths`, which use `/`; other files are left out.

    Understood are `[anything/]train/<class>/<image>` and `[anything/]test/<class>/<image>`, or
    `[anything/]<class>/<image>` with no test set.

    Raises:
        ValueError: if there is no image, or an image that fits neither layout.
    """
    images = sorted(path for path in paths if is_image(path))
    if not images:
        raise InputError(
            f"{source}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) as "
            f"[train|test]/<class>/<image>. Received: none. Check fetch.source in params.yaml."
        )
    with_splits = any(_names_split(path) for path in images)
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
    return {path: place for path, place in places.items() if place is not None}


def _names_split(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) >= 3 and parts[-3].lower() in SPLITS


def _place(path: str, *, with_splits: bool) -> Place | None:
    parts = PurePosixPath(path).parts
    if with_splits:
        if not _names_split(path):
            return None
        split = parts[-3].lower()
        return Place("/".join((split, *parts[-2:])), split, parts[-2])
    if len(parts) < 2:
        return None
    return Place("/".join(parts[-2:]), "", parts[-2])
