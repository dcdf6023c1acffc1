"""Images inside zip and tar archives, read where they are and never unpacked into a folder.

An archive may have been made to do harm. A name that leads out of it, and content that grows
beyond `fetch.limits`, stop the run; sizes are checked where the archive states them, before
anything is read, and again on what comes out, since it may lie. Links are never followed.
"""

import gzip
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

from tissue.common.errors import InputError, is_disk_full
from tissue.common.files import file_digest
from tissue.config.schema import Limits
from tissue.sources.layout import check_inside, is_image, with_slashes

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
# Below this many bytes the ratio does not matter: a blank picture packs a thousand times smaller.
HARMLESS = 10_000_000
BLOCK = 512  # bytes, of a tar
Reader = Callable[[], bytes]
# What reading raises where an archive is damaged (OSError: an offset before its start), encrypted
# (RuntimeError) or packed in a way that Python does not know (NotImplementedError, a RuntimeError).
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LookupError,
    EOFError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    lzma.LZMAError,
)


class Member(NamedTuple):
    """A file of a source: its name, how to read it, and what it is instead of a regular file."""

    name: str
    read: Reader
    kind: str = ""


def is_archive(path: Path) -> bool:
    """Whether a file name is that of an archive."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and not path.name.startswith(".")


def open_archive(path: Path, *, limits: Limits, closing: ExitStack) -> list[Member]:
    """List the files in an archive; it stays open until `closing` closes.

    Raises:
        InputError: if the file is not an archive of the kind its name says, if a name leads out
            of it, or if it is larger inside than `limits` allow.
    """
    try:
        if path.name.lower().endswith(".zip"):
            return _open_zip(path, limits, closing)
        return _open_tar(path, limits, closing)
    except InputError:
        raise
    except UNREADABLE as error:
        if is_disk_full(error):
            raise InputError(
                f"{path}: expected space in {tempfile.gettempdir()} to inflate it. Received: "
                f"{error}. Free some, or set the environment variable TMPDIR to another folder."
            ) from None
        raise InputError(
            f"{path}: expected a readable {path.suffix} archive. Received: {_told(error)}. "
            "Is it whole? Fetch the file again."
        ) from None


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def check_size(path: Path, name: str, size: int, limits: Limits) -> None:
    """Raise an `InputError` if a file of a source is larger than the limit."""
    if size > limits.member_bytes:
        raise InputError(
            f"{path}: expected files of at most {limits.member_bytes} bytes "
            f"(fetch.limits.member_bytes). Received: {name} with {size} or more."
        )


def _check_growth(path: Path, name: str, size: int, packed: int, limits: Limits) -> None:
    if size > max(HARMLESS, limits.ratio * packed):
        raise InputError(
            f"{path}: expected content at most {limits.ratio} times as large as it is packed "
            f"(fetch.limits.ratio). Received: {name} with {packed} bytes that grow to {size} or "
            "more. It may be a decompression bomb: do not use this archive."
        )
    if size > limits.archive_bytes:
        raise InputError(
            f"{path}: expected at most {limits.archive_bytes} bytes of content "
            f"(fetch.limits.archive_bytes). Received: {size} or more."
        )


def _check_count(path: Path, count: int, limits: Limits) -> None:
    if count > limits.members:
        raise InputError(
            f"{path}: expected at most {limits.members} members (fetch.limits.members). "
            f"Received: {count} or more."
        )


def _open_zip(path: Path, limits: Limits, closing: ExitStack) -> list[Member]:
    archive = closing.enter_context(zipfile.ZipFile(path))
    _check_count(path, len(archive.infolist()), limits)
    whole, total = path.stat().st_size, 0
    members = []
    for info in archive.infolist():
        name = _zip_name(info)
        check_inside(name, source=str(path))
        if info.is_dir() or name.endswith("/"):
            continue
        member = Member(name, partial(_read_zip, archive, info, path), _zip_kind(info))
        members.append(member)
        if is_image(name) and not member.kind:
            if info.flag_bits & 1:
                raise _unreadable(path, name, ValueError("an encrypted member"))
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Python unpacks others without a limit.
                raise _unreadable(path, name, ValueError("packed by another method than deflate"))
            check_size(path, name, info.file_size, limits)
            # Neither a member nor all together, which may overlap, are packed in more than a file.
            _check_growth(path, name, info.file_size, min(info.compress_size, whole), limits)
            total += info.file_size
            _check_growth(path, "all up to " + name, total, whole, limits)
    return members


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & 0x800:
        # Old, but names are often UTF-8 all the same where the flag that says so is not set.
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return with_slashes(name)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    return "" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "device"


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    try:
        # At most `file_size` bytes, which was checked, are unpacked, whatever the member grows to;
        # `ZipFile.read` would unpack all and cut it.
        with archive.open(info) as file:
            content = file.read(info.file_size)
        if len(content) != info.file_size:
            raise zipfile.BadZipFile(f"{len(content)} bytes instead of {info.file_size}")
        return content
    except UNREADABLE as error:
        raise _unreadable(path, info.filename, error) from None


class _Bounded:
    """A file of which no more is read at once than a limit: headers of a tar may ask for all."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._most:
            raise tarfile.ReadError(f"a part of {size} bytes, more than fetch.limits.member_bytes")
        return self._file.read(size)


def _open_tar(path: Path, limits: Limits, closing: ExitStack) -> list[Member]:
    file: IO[bytes] = closing.enter_context(path.open("rb"))
    if not path.name.lower().endswith(".tar"):
        file = _inflate(path, file, limits, closing)
    bounded = cast(IO[bytes], _Bounded(file, limits.member_bytes))
    archive = closing.enter_context(tarfile.open(fileobj=bounded, mode="r:"))
    members, packed, total = [], path.stat().st_size, 0
    for count, info in enumerate(archive, 1):
        _check_count(path, count, limits)
        name = with_slashes(info.name)
        check_inside(name, source=str(path))
        if not info.isdir():
            read = partial(_read_tar, archive, info, path)
            members.append(Member(name, read, _tar_kind(info)))
            if info.isreg() and is_image(name):
                check_size(path, name, info.size, limits)
                # What a sparse member says it holds need not lie in the archive.
                total += info.size
                _check_growth(path, "all up to " + name, total, packed, limits)
    file.seek(archive.offset)
    if file.read(BLOCK) != bytes(BLOCK):
        # Python takes a damaged header for the end.
        raise tarfile.ReadError(f"no end, but damage at byte {archive.offset}")
    return members


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "link"
    return "" if info.isreg() else "device"


def _inflate(path: Path, file: IO[bytes], limits: Limits, closing: ExitStack) -> IO[bytes]:
    # A compressed tar can only be read from front to back; images are read in the order of ids.
    whole = closing.enter_context(tempfile.TemporaryFile())
    packed, size = path.stat().st_size, 0
    with gzip.open(file) as content:
        while part := content.read(1 << 20):
            size += len(part)
            _check_growth(path, path.name, size, packed, limits)
            whole.write(part)
    whole.seek(0)
    return whole


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> bytes:
    try:
        content = archive.extractfile(info)
        assert content is not None, "only regular files are read"
        return content.read()
    except UNREADABLE as error:
        raise _unreadable(path, info.name, error) from None


def _unreadable(path: Path, name: str, error: Exception) -> InputError:
    return InputError(
        f"{path}: expected to read {name}. Received: {_told(error)}. Repack the archive."
    )


def check_digest(path: Path, expected: str) -> None:
    """Check the sha256 of a file.

    Raises:
        InputError: if it differs.
    """
    received = file_digest(path)
    if received != expected:
        raise InputError(
            f"{path}: expected sha256 {expected}. Received: {received}. "
            "Fetch the file again, or correct fetch.sha256 in params.yaml."
        )
