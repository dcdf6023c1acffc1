"""Images in a folder on this machine."""

from functools import partial
from pathlib import Path

from stages.cli.running import InputError
from stages.params.schema import Limits
from stages.sources.archives import Member, check_size


def open_folder(folder: Path, *, limits: Limits) -> list[Member]:
    """List the files below a folder. Links to files are followed, links to folders are not."""
    members = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        kind = "" if path.is_file() else "link" if path.is_symlink() else "device"
        name = path.relative_to(folder).as_posix()
        members.append(Member(name, partial(_read_file, path, limits), kind))
    return members


def _read_file(path: Path, limits: Limits) -> bytes:
    try:
        check_size(path.parent, path.name, path.stat().st_size, limits)
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: expected to read it. Received: {error.strerror or error}. "
            "Repair it or take it out."
        ) from None
