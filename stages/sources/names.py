"""Names of files inside a source, which others wrote: what they may be, and what is left out."""

import re
import unicodedata
from pathlib import PurePosixPath

from stages.cli.running import InputError

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


def left_out(name: str) -> str:
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
    return not left_out(name)
