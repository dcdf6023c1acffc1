"""What to say of an error of the system: of disks, memory, permissions, and files in the way."""

import errno
import sqlite3
import textwrap
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tissue.common.errors import is_disk_full

SPACE = (
    "expected space for what it writes. Received: {}. Free some and run it again; no file was left "
    "half-written."
)
# A file where a folder should be, or the reverse
WRONG_KIND = (IsADirectoryError, NotADirectoryError, FileExistsError)
# Of disks and network drives, by their names, since not every system has all
FAILING = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ENODEV", "ENXIO", "EREMOTEIO", "ENOTCONN", "EHOSTDOWN")
    if hasattr(errno, name)
}
UNUSABLE_NAME = "expected to use {}. Received: {}. Change its permissions, or give another place."
# Of names: too long, links that lead to themselves
UNUSABLE = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)


def describe(error: Exception) -> str | None:
    """Return the message for an error of the system, or None if it is a bug."""
    if isinstance(error, OSError):
        return _describe_system(error)
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
        # Of `Path.resolve` before Python 3.13, which is no error of the system
        return UNUSABLE_NAME.format("what it needs", error)
    if isinstance(error, sqlite3.OperationalError):  # of tables among the temporary files
        return SPACE.format(error)
    # The memory that is short may have ended another process of this stage.
    short = isinstance(error, MemoryError | BrokenProcessPool)
    if short or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
        received = textwrap.shorten(f"{type(error).__name__}: {error}".rstrip(": "), 300)
        return (
            f"expected memory, and its processes, until it is done. Received: {received}. End "
            "other programs, or take a larger machine, and run it again."
        )
    return None


def _describe_system(error: OSError) -> str | None:
    if isinstance(error, FileNotFoundError) and _is_output(error.filename):
        return (
            f"expected {error.filename}, which a stage before this one writes. "
            "Received: no such file. Run `dvc repro`, or `make pull` for what others have made."
        )
    if isinstance(error, PermissionError) or error.errno in UNUSABLE:
        return UNUSABLE_NAME.format(error.filename or "what it needs", error.strerror or error)
    if isinstance(error, WRONG_KIND) and (name := _output_in(error)):
        return (
            f"expected {name} as a stage writes it. Received: {error.strerror}. Move it away, and "
            "run `dvc repro`."
        )
    if error.errno in FAILING:
        return (
            f"expected a disk that works. Received: {error}. Check the disk or the network drive, "
            "and run it again; no file was left half-written."
        )
    if is_disk_full(error) or _is_without_temporary(error):
        return SPACE.format(error)
    return None


def _is_without_temporary(error: OSError) -> bool:
    # `tempfile` tries several folders, and says of none why it cannot be written to.
    return isinstance(error, FileNotFoundError) and "temporary directory" in str(error)


def _output_in(error: OSError) -> str:
    # A file is moved to its name from another one beside it.
    names = (name for name in (error.filename2, error.filename) if isinstance(name, str))
    return next((name for name in names if _is_output(name)), "")


def _is_output(name: str | None) -> bool:
    # A stage writes to hidden files first. Processes are given absolute paths.
    path = Path(name or "")
    parts = (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).parts
    return parts[:1] == ("data",) and not any(part.startswith(".") for part in parts)
