"""Images inside zip and tar archives, read where they are and never unpacked into a folder."""

import gzip
import hashlib
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO

from stages.cli.running import InputError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
Reader = Callable[[], bytes]
# What reading raises where an archive is damaged (OSError: an offset before its start), encrypted
# (RuntimeError) or packed in a way that Python does not know (NotImplementedError, a RuntimeError).
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


def is_archive(path: Path) -> bool:
    """Whether a file name is that of an archive."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and not path.name.startswith(".")


def open_archive(path: Path, *, closing: ExitStack) -> dict[str, Reader]:
    """Return a reader for each regular file in an archive; it stays open until `closing` closes.

    Raises:
        ValueError: if the file is not an archive of the kind its name says.
    """
    try:
        if path.name.lower().endswith(".zip"):
            return _open_zip(path, closing)
        return _open_tar(path, closing)
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected a readable {path.suffix} archive. Received: {error}. "
            "Is it whole? Fetch the file again."
        ) from None


def _open_zip(path: Path, closing: ExitStack) -> dict[str, Reader]:
    archive = closing.enter_context(zipfile.ZipFile(path))
    members = [info for info in archive.infolist() if not info.is_dir()]
    return {info.filename: partial(_read_zip, archive, info, path) for info in members}


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    try:
        return archive.read(info)
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected to read {info.filename}. Received: {error}. Repack the archive."
        ) from None


def _open_tar(path: Path, closing: ExitStack) -> dict[str, Reader]:
    file: IO[bytes] = closing.enter_context(path.open("rb"))
    if not path.name.lower().endswith(".tar"):
        file = _inflate(file, closing)
    archive = closing.enter_context(tarfile.open(fileobj=file, mode="r:"))
    members = [member for member in archive if member.isreg()]
    return {member.name: partial(_read_tar, archive, member) for member in members}


def _inflate(file: IO[bytes], closing: ExitStack) -> IO[bytes]:
    # A compressed tar can only be read from front to back; images are read in the order of ids.
    whole = closing.enter_context(tempfile.TemporaryFile())
    with gzip.open(file) as content:
        shutil.copyfileobj(content, whole, 1 << 20)
    whole.seek(0)
    return whole


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    assert content is not None, "only regular files are listed"
    return content.read()


def check_digest(path: Path, expected: str) -> None:
    """Check the sha256 of a file.

    Raises:
        ValueError: if it differs.
    """
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != expected:
        raise InputError(
            f"{path}: expected sha256 {expected}. Received: {received}. "
            "Fetch the file again, or correct fetch.sha256 in params.yaml."
        )
