"""Images in a folder on this machine."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

from stages.cli.running import InputError
from stages.params.schema import Limits
from stages.sources.archives import Member, check_size


def names_below(folder: Path) -> Iterator[str]:
    """Give the names of files and links below a folder, with `/`, one folder after the other.

    Links to folders are not followed. A `Path` for each would take 1 kB.

    Raises:
        InputError: if a folder cannot be listed, whose images would be missing else.
    """
    for at, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        below = Path(at).relative_to(folder).as_posix()
        links = [name for name in folders if Path(at, name).is_symlink()]
        for name in sorted(files + links):
            yield name if below == "." else f"{below}/{name}"


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: expected to list this folder. Received: {error.strerror}. Change its "
        "permissions, or take it out."
    ) from None


def open_folder(folder: Path, *, limits: Limits) -> Iterator[Member]:
    """Give the files below a folder. Links to files are followed, links to folders are not."""
    for name in names_below(folder):
        path = folder / name
        kind = "" if path.is_file() else "link" if path.is_symlink() else "device"
        yield Member(name, partial(read_file, path, limits), kind)


def read_file(path: Path, limits: Limits) -> bytes:
    """Return the bytes of a file.

    Raises:
        InputError: if it cannot be read, or is larger than the limit.
    """
    try:
        check_size(path.parent, path.name, path.stat().st_size, limits)
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: expected to read it. Received: {error.strerror or error}. "
            "Repair it or take it out."
        ) from None
