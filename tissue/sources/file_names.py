"""Names of the files of a source: which are images, which are left out, and which are refused."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from tissue.common.errors import InputError
from tissue.common.names import one_line
from tissue.slides.opening import is_slide

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".j2k",
    ".jpx", ".avif", ".heic", ".heif",
})  # fmt: skip
PACKED_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
# Pictures of kinds that nothing here reads: stacks, raw files of cameras, drawings.
UNREAD_SUFFIXES = frozenset({
    ".vsi", ".czi", ".lif", ".nd2", ".zvi", ".nii", ".mha", ".psd", ".gif", ".svg",
    ".eps", ".ppm", ".pgm", ".exr", ".jxl", ".jxr", ".cr2", ".cr3", ".nef", ".arw", ".dng",
    ".raw", ".npy", ".npz", ".h5", ".mat",
})  # fmt: skip
UNREAD = " file, which is not read"  # ends the reason why such a file is left out
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".json", ".jsonl"})
# Folders that operating systems and file servers make, with thumbnails and deleted files.
SYSTEM_FOLDERS = frozenset({
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "recycler", "lost+found",
    "system volume information", "network trash folder", "temporary items", "@tmp",
    "@recently-snapshot", "#snapshot", "_gsdata_", "found.000",
})  # fmt: skip
# After + and -, only calls, references to other files and further formulas are dangerous.
FORMULA = re.compile(r"[=@]|[+-].*[(|!=]")
MAX_LENGTH = 1000  # characters of a name


def check_inside(name: str, *, source: str) -> None:
    """Raise an `InputError` if a name leads out of the folder it would be unpacked in."""
    drive = name[1:2] == ":" and name[:1].isascii() and name[:1].isalpha()
    if name.startswith("/") or drive or ".." in name.split("/"):
        raise InputError(
            f"{source}: expected names inside the archive. Received: {name!r}, which leads out of "
            "it: it may be an attack. Do not use this archive."
        )


def check_text(name: str, *, source: str) -> None:
    """Raise an `InputError` if a name cannot be written to a table and read back."""
    _check_letters(name, source)
    *folders, file = PurePosixPath(name).parts
    check_cells((*folders, file[:1]), source=source)


def check_source(name: str) -> None:
    """Raise an `InputError` if a table cannot hold the name of an archive or folder."""
    _check_letters(name, "fetch.source")
    check_cells([name], source="fetch.source")


def _check_letters(name: str, source: str) -> None:
    if one_line(name) != name or len(name) > MAX_LENGTH:
        raise InputError(
            f"{source}: expected names in UTF-8, without control characters, of at most "
            f"{MAX_LENGTH} characters. Received: {name[-80:]!r}. Rename it."
        )


def check_cells(parts: Iterable[str], *, source: str) -> None:
    """Raise an `InputError` if a spreadsheet would run a name as a formula.

    Names of classes and ids begin cells of the tables that are written; `-1` is a number.
    """
    for part in parts:
        if FORMULA.match(part):
            raise InputError(
                f"{source}: expected names that a spreadsheet shows as text. Received: "
                f"{part[:80]!r}, which it would run as a formula. Rename it."
            )


def reason_left_out(name: str) -> str:
    """Return why a file is no image or slide, by its name alone; empty for one."""
    if is_hidden(name):
        return "hidden file"
    if is_slide(name):
        return ""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in PACKED_SUFFIXES:
        return "archive inside"
    if suffix in UNREAD_SUFFIXES:
        return f"{suffix}{UNREAD}"
    if suffix in TABLE_SUFFIXES:
        return "table"
    return "" if suffix in IMAGE_SUFFIXES else "other file"


def is_hidden(name: str) -> bool:
    """Return whether a path is hidden, or is in a folder of an operating or storage system."""
    return any(
        part.startswith((".", "~$")) or part.casefold() in SYSTEM_FOLDERS
        for part in PurePosixPath(name).parts
    )


def is_image(name: str) -> bool:
    """Return whether a path names an image or slide that is not hidden."""
    return not reason_left_out(name)
