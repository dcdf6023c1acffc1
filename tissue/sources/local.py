"""Images in folders and archives on this machine."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

from tissue.common.errors import InputError
from tissue.common.files import file_digest
from tissue.config.schema import Limits
from tissue.sources.archives import Member, check_size, is_archive, open_archive
from tissue.sources.layout import check_layout, check_text, is_hidden, is_image, reason_left_out
from tissue.sources.listing import Listing, ReadFile

LeftOut = dict[str, tuple[int, str]]  # by kind: how many files, and the first name


def list_images(
    sources: Iterable[Path], *, sha256: Mapping[str, str], limits: Limits, closing: ExitStack
) -> Listing:
    """Return the images of folders and archives, merged into one tree and sorted by id.

    Prints what else is in them, in one line.

    Args:
        sources: folders and archives; a folder with archives and no image means its archives.
        sha256: expected digests of archives by file name.
        limits: of what is in the archives.
        closing: closes the archives when the images have been read.

    Raises:
        InputError: if a source is missing, is neither folder nor archive, has the wrong digest or
            an unknown layout; or if two different images would have one id.
    """
    paths = [path for source in sources for path in _folder_or_archives(source)]
    if unknown := sorted(set(sha256) - {path.name for path in paths}):
        raise InputError(
            f"fetch.sha256: expected names of the source's archives. Received: {unknown[0]}, which "
            "is none of them. Correct fetch.sha256 in params.yaml."
        )
    check_digests(paths, sha256)
    label = " + ".join(map(str, paths))
    listing, left_out = Listing(closing), LeftOut()
    for path in paths:
        members, read = _open(path, limits, closing)
        listing.add(path.name, read, _images(members, left_out, label))
    if left_out:
        counts = [f"{n} x {kind} (e.g. {name!r})" for kind, (n, name) in sorted(left_out.items())]
        print(f"left out: {', '.join(counts)}")
    # Two parts of one tree may each hold a share of it, so the layout is that of all together.
    listing.assign_ids(with_splits=check_layout(listing.names(), source=label))
    return listing


def _folder_or_archives(path: Path) -> list[Path]:
    if path.is_dir():
        return find_archives(path) or [path]
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


def find_archives(folder: Path) -> list[Path]:
    """Return the archives below a folder, sorted.

    Raises:
        InputError: if there are images as well.
    """
    archives, has_images = list[Path](), False
    for name in _names_below(folder):
        path = folder / name
        if path.is_file() and not is_hidden(name):
            archives += [path] if is_archive(path) else []
            has_images = has_images or is_image(name)
    if archives and has_images:
        raise InputError(
            f"{folder}: expected images or archives. Received: both, e.g. {min(archives).name}. "
            "Move the archives to a folder of their own."
        )
    return sorted(archives)


def check_digests(
    paths: Iterable[Path], sha256: Mapping[str, str], *, remove: bool = False
) -> None:
    """Check the digests of those archives whose names are given.

    Raises:
        InputError: naming the first with another digest, which is removed if `remove` is set.
    """
    for path in paths:
        if path.name in sha256 and (received := file_digest(path)) != sha256[path.name]:
            if remove:
                path.unlink()
            raise InputError(
                f"{path}: expected sha256 {sha256[path.name]}. Received: {received}. "
                "Fetch the file again, or correct fetch.sha256 in params.yaml."
            )


def _open(path: Path, limits: Limits, closing: ExitStack) -> tuple[Iterable[Member], ReadFile]:
    if path.is_dir():
        return open_folder(path, limits=limits), lambda _, name: read_file(path / name, limits)
    members = open_archive(path, limits=limits, closing=closing)
    return members, lambda number, _: members[number].read()


def _images(members: Iterable[Member], left_out: LeftOut, label: str) -> Iterator[tuple[int, str]]:
    """Yield number and name of each image, and count the other files."""
    for number, (name, _, kind) in enumerate(members):
        if reason := kind or reason_left_out(name):
            count, first = left_out.get(reason, (0, name))
            left_out[reason] = (count + 1, min(first, name))
        else:
            check_text(name, source=label)
            yield number, name


def _names_below(folder: Path) -> Iterator[str]:
    """Yield the names of files and links below a folder, with `/`, one folder after the other.

    Links to folders are not followed. A `Path` for each would take 1 kB.

    Raises:
        InputError: if a folder cannot be listed, since its images would be missing.
    """
    for path, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        below = Path(path).relative_to(folder).as_posix()
        links = [name for name in folders if Path(path, name).is_symlink()]
        for name in sorted(files + links):
            yield name if below == "." else f"{below}/{name}"


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: expected to list this folder. Received: {error.strerror}. Change its "
        "permissions, or take it out."
    ) from None


def open_folder(folder: Path, *, limits: Limits) -> Iterator[Member]:
    """Yield the files below a folder. Links to files are followed, links to folders are not."""
    for name in _names_below(folder):
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
