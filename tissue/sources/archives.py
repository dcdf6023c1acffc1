"""Images inside zip and tar archives, read in place and never unpacked into a folder.

An archive may be malicious. A name that leads out of it, or content beyond `advanced.fetch.limits`,
the run. Stated sizes are checked before anything is read, and real ones while it is read, since an
archive may state wrong ones. Links are never followed.
"""

import gzip
import stat
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

from tissue.common.errors import InputError, is_disk_full
from tissue.config.fetch import Limits
from tissue.sources.file_names import check_inside, is_image
from tissue.sources.zip_names import decode_names

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
# Below this many bytes the ratio does not matter: a blank picture packs a thousand times smaller.
HARMLESS = 10_000_000
BLOCK = 512  # bytes, of a tar
# Of a tar, in bytes before one member, and in entries for all members, which each of them repeats
MOST_HEADER, MOST_GLOBAL = 1_000_000, 100
UNBOUNDED = sys.maxsize  # members, whose sizes are checked
FOLDER = "folder"
Reader = Callable[[], bytes]
# Raised while reading an archive that is damaged (OSError: an offset before its start), encrypted
# (RuntimeError) or packed in a way that Python does not know (NotImplementedError, a RuntimeError).
UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, LookupError, EOFError,
    MemoryError, OSError, RuntimeError, ValueError,
)  # fmt: skip


class Member(NamedTuple):
    """A file of a source: its name, how to read it, and its kind if it is not a regular file.

    `stored` is its name in a folder, or what `zipfile` calls it; empty in other archives.
    """

    name: str
    read: Reader
    kind: str = ""
    stored: str = ""


Entry = tuple[Member, int, int]  # with its size and packed size in bytes, as the archive states


def is_archive(path: Path) -> bool:
    """Return whether a file name is that of an archive."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and not path.name.startswith(".")


def open_archive(path: Path, *, limits: Limits, closing: ExitStack) -> list[Member]:
    """Return the files in an archive, which stays open until `closing` closes.

    Raises:
        InputError: if the file is not an archive of the kind its name says, if a name leads out
            of it, or if its content exceeds `limits`.
    """
    with _readable(path, f"a readable {path.suffix} archive"):
        if path.suffix.lower() == ".zip":
            return list(_checked(_zip_entries(path, limits, closing), path, limits))
        return list(_checked(_tar_entries(path, limits, closing), path, limits))


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    """Turn what an unreadable archive raises into an `InputError`."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except UNREADABLE as error:
        if is_disk_full(error):
            raise InputError(
                f"{path}: expected space in {tempfile.gettempdir()} to inflate it. Received: "
                f"{error}. Free some, or set the environment variable TMPDIR to another folder."
            ) from None
        raise InputError(
            f"{path}: expected {expected}. Received: {str(error) or type(error).__name__}. "
            "Fetch the file again, or repack it."
        ) from None


def _checked(entries: Iterator[Entry], path: Path, limits: Limits) -> Iterator[Member]:
    archive_size, total = path.stat().st_size, 0
    for count, (member, size, packed) in enumerate(entries, 1):
        if count > limits.members:
            raise InputError(
                f"{path}: expected at most {limits.members} members "
                f"(advanced.fetch.limits.members). Received: {count} or more."
            )
        check_inside(member.name, source=str(path))
        if member.kind == FOLDER:
            continue
        if is_image(member.name) and not member.kind:
            check_size(path, member.name, size, limits)
            _check_growth(path, member.name, size, packed, limits)
            total += size
            # Members may overlap; all of them are packed in no more than the file.
            _check_growth(path, f"all up to {member.name}", total, archive_size, limits)
        yield member


def check_size(path: Path, name: str, size: int, limits: Limits) -> None:
    """Raise an `InputError` if a file of a source is larger than the limit."""
    if size > limits.member_bytes:
        raise InputError(
            f"{path}: expected files of at most {limits.member_bytes} bytes "
            f"(advanced.fetch.limits.member_bytes). Received: {name} with {size} or more."
        )


def _check_growth(path: Path, name: str, size: int, packed: int, limits: Limits) -> None:
    if size > max(HARMLESS, limits.ratio * packed):
        raise InputError(
            f"{path}: expected content at most {limits.ratio} times as large as it is packed "
            f"(advanced.fetch.limits.ratio). Received: {name} with {packed} bytes that grow to "
            f"{size} or more. It may be a decompression bomb: do not use this archive."
        )
    if size > limits.archive_bytes:
        raise InputError(
            f"{path}: expected at most {limits.archive_bytes} bytes of content "
            f"(advanced.fetch.limits.archive_bytes). Received: {size} or more."
        )


def _zip_entries(path: Path, limits: Limits, closing: ExitStack) -> Iterator[Entry]:
    file, archive_size = closing.enter_context(path.open("rb")), path.stat().st_size
    most = limits.directory_bytes
    limit = f"{most} bytes that describe members (advanced.fetch.limits.directory_bytes)"
    bounded = _BoundedReads(file, most, limit)
    archive = closing.enter_context(zipfile.ZipFile(cast(IO[bytes], bounded)))
    bounded.left = UNBOUNDED
    members = archive.infolist()
    names, encoding = decode_names(members)
    if encoding:
        print(f"{path.name}: names are read as {encoding}, since they are not UTF-8")
    for info, name in zip(members, names, strict=True):
        kind = FOLDER if name.endswith("/") else _file_kind(info.external_attr >> 16)
        if is_image(name) and not kind:
            if info.flag_bits & 1:
                raise zipfile.BadZipFile(f"{name}, which is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Python unpacks others without a limit.
                raise zipfile.BadZipFile(f"{name}, packed by another method than deflate")
        member = Member(name, partial(_read_zip, archive, info, path), kind, info.filename)
        yield member, info.file_size, min(info.compress_size, archive_size)


def _file_kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    return "" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "device"


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    # No more than `file_size` bytes, which were checked, are unpacked, however large the member
    # really is; `ZipFile.read` would unpack all of it.
    with _readable(path, f"to read {info.filename}"), archive.open(info) as file:
        content = file.read(info.file_size)
        if len(content) != info.file_size:
            raise zipfile.BadZipFile(f"{len(content)} bytes instead of {info.file_size}")
        return content


class _BoundedReads:
    """A file of which no more than `left` bytes are read until that is set anew.

    What an archive says of its members may be of any size, and is read in one piece.
    """

    def __init__(self, file: IO[bytes], left: int, limit: str) -> None:
        self._file, self.left, self._limit = file, left, limit
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > self.left:
            raise InputError(
                f"expected at most {self._limit}. Received: {size} bytes. Pack it as several "
                "archives, or unpack it and name the folder."
            )
        content = self._file.read(size if size >= 0 else self.left)
        self.left -= len(content)
        return content


def _tar_entries(path: Path, limits: Limits, closing: ExitStack) -> Iterator[Entry]:
    if path.suffix.lower() == ".tar":
        file: IO[bytes] = closing.enter_context(path.open("rb"))
    else:
        file = _inflate(path, limits, closing)
    bounded = _BoundedReads(file, MOST_HEADER, f"{MOST_HEADER} bytes that describe a member")
    archive = closing.enter_context(tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:"))
    for info in archive:
        if len(archive.pax_headers) > MOST_GLOBAL:
            raise tarfile.HeaderError(f"{len(archive.pax_headers)} entries for all members")
        info.pax_headers = {}  # they have been used, and hold those for all members
        read = partial(_read_tar, archive, info, path)
        member = Member(info.name.replace("\\", "/"), read, _tar_kind(info))
        bounded.left = MOST_HEADER
        yield member, info.size, info.size  # a sparse one holds less, which shows in the total
    bounded.left = UNBOUNDED
    file.seek(archive.offset)
    if file.read(BLOCK) != bytes(BLOCK):
        # Python takes a damaged header for the end.
        raise tarfile.ReadError(f"no end, but damage at byte {archive.offset}")


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return FOLDER
    if info.issym() or info.islnk():
        return "link"
    return "" if info.isreg() else "device"


def _inflate(path: Path, limits: Limits, closing: ExitStack) -> IO[bytes]:
    # A compressed tar can only be read from front to back; images are read in the order of ids.
    inflated = closing.enter_context(tempfile.TemporaryFile())
    packed, size = path.stat().st_size, 0
    with gzip.open(path) as content:
        while chunk := content.read(1 << 20):
            size += len(chunk)
            _check_growth(path, path.name, size, packed, limits)
            inflated.write(chunk)
    inflated.seek(0)
    return inflated


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> bytes:
    with _readable(path, f"to read {info.name}"):
        content = archive.extractfile(info)
        assert content is not None, "only regular files are read"
        return content.read()
