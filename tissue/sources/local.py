"""Images in folders and archives on this machine."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

from tissue.common.errors import InputError
from tissue.config.schema import Limits
from tissue.sources.archives import Member, check_digest, check_size, is_archive, open_archive
from tissue.sources.layout import check_layout, check_text, is_hidden, is_image, reason_left_out
from tissue.sources.listing import Listing, Origin


def list_images(
    sources: Iterable[str], *, sha256: Mapping[str, str], limits: Limits, closing: ExitStack
) -> Listing:
    """List the images of folders and archives, merged into one tree and sorted by id.

    Prints what else is in them, in one line.

    Args:
        sources: folders and archives; a folder with archives and no image stands for its archives.
        sha256: expected digests of archives by file name.
        limits: of what is in the archives.
        closing: closes the archives when the images have been read.

    Raises:
        ValueError: if a source is missing, is neither folder nor archive, has the wrong digest or
            no known layout; or if two different images would have one id.
    """
    paths = [path for source in sources for path in _archives_or_folder(Path(source))]
    _check_digests(paths, sha256)
    told = " + ".join(map(str, paths))
    listing = Listing(closing)
    left = _LeftOut()
    for path in paths:
        members, origin = _open(path, limits, closing)
        listing.add(origin, _regular_images(members, left, told))
    left.tell()
    # Two parts of one tree may each hold a share of it, so the layout is read off all together.
    listing.arrange(with_splits=check_layout(listing.names, source=told))
    return listing


class _LeftOut:
    """How many files of each kind are no images, and the name of one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = Counter[str]()
        self._example: dict[str, str] = {}

    def add(self, name: str, kind: str) -> None:
        """Count a file."""
        self._count[kind] += 1
        self._example[kind] = min(name, self._example.get(kind, name))

    def tell(self) -> None:
        """Print the numbers in one line, if there is any."""
        if self._count:
            told = (
                f"{n} x {kind} (e.g. {self._example[kind]!r})"
                for kind, n in sorted(self._count.items())
            )
            print(f"left out: {', '.join(told)}")


def _regular_images(
    members: Iterable[Member], left: _LeftOut, told: str
) -> Iterator[tuple[int, str]]:
    """Give number and name of the images among the files of a source."""
    for number, member in enumerate(members):
        if kind := member.kind or reason_left_out(member.name):
            left.add(member.name, kind)
        else:
            check_text(member.name, source=told)
            yield number, member.name


def _archives_or_folder(path: Path) -> list[Path]:
    if path.is_dir():
        archives, has_images = list[Path](), False
        for name in names_below(path):
            file = path / name
            if file.is_file() and not is_hidden(name):
                archives += [file] if is_archive(file) else []
                has_images = has_images or is_image(name)
        if archives and has_images:
            raise InputError(
                f"{path}: expected images or archives. Received: both, e.g. {min(archives).name}. "
                "Name the folder and the archives one by one in a list."
            )
        return sorted(archives) or [path]
    if not path.exists():
        raise InputError(
            "fetch.source: expected phantom, hpa, an address such as https://... or s3://..., or a "
            f"folder or archive. Received: {path}, which does not exist, seen from {Path.cwd()}. "
            "Check fetch.source in params.yaml."
        )
    if not is_archive(path):
        raise InputError(
            f"{path}: expected a folder or an archive (.zip, .tar, .tar.gz). Received: a file "
            f"ending in {path.suffix or 'nothing'}. Check fetch.source in params.yaml."
        )
    return [path]


def _check_digests(paths: list[Path], sha256: Mapping[str, str]) -> None:
    unknown = sorted(set(sha256) - {path.name for path in paths})
    if unknown:
        raise InputError(
            f"fetch.sha256: expected names of the source's archives. Received: {unknown[0]}, which "
            "is none of them. Correct fetch.sha256 in params.yaml."
        )
    for path in paths:
        if path.name in sha256:
            check_digest(path, sha256[path.name])


def _open(path: Path, limits: Limits, closing: ExitStack) -> tuple[Iterable[Member], Origin]:
    if path.is_dir():
        members = open_folder(path, limits=limits)
        return members, Origin(path.name, lambda _, name: read_file(path / name, limits))
    listed = open_archive(path, limits=limits, closing=closing)
    return listed, Origin(path.name, lambda number, _: listed[number].read())


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
