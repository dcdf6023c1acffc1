"""Images in folders and archives on this machine."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

from tissue.common.errors import InputError
from tissue.common.files import file_digest
from tissue.common.names import printable
from tissue.config.fetch import Labels, Limits
from tissue.sources.archives import Member, check_size, is_archive, open_archive
from tissue.sources.file_names import UNREAD, check_text, is_hidden, is_image, reason_left_out
from tissue.sources.labels import LabelTable
from tissue.sources.layout import read_layout
from tissue.sources.listing import Find, Listing, Parse

LeftOut = dict[str, tuple[int, list[str]]]  # by kind: how many files, and the first names
FIRST = 3  # names
TABLE = "table"  # one of the kinds
MOST_UNREAD = 0.05  # share of the pictures of a source that nothing here reads; more stops the run


def list_images(
    sources: Iterable[Path],
    *,
    sha256: Mapping[str, str],
    limits: Limits,
    closing: ExitStack,
    class_level: int | None = None,
    labels: Labels | None = None,
    outside_links: bool = False,
) -> Listing:
    """Return the images of folders and archives, merged into one tree; print what is understood.

    Args:
        sources: folders and archives; a folder with archives and no image means its archives.
        sha256, limits, class_level, labels, outside_links: see `Fetch`.
        closing: closes the archives when the images have been read.

    Raises:
        InputError: if a source is missing, is neither folder nor archive, has the wrong digest or
            an unknown layout; or if two different images would have one id.
    """
    table = None if labels is None else LabelTable(labels)  # read before large archives
    sources = list(sources)
    for source in () if outside_links else filter(Path.is_dir, sources):
        _check_links(source)
    paths = [path for source in sources for path in _folder_or_archives(source)]
    _check_digests_of(paths, sha256)
    label = " + ".join(map(str, paths))
    listing, left_out = Listing(closing), LeftOut()
    for path in paths:
        members, find = _open(path, limits, closing)
        listing.add(path, _images(members, left_out, label), find)
    _report_left_out(left_out, listing, label)
    # Two parts of one tree may each hold a share of it, so the layout is that of all together.
    if table is None:
        listing.assign_ids(_parse_folders(listing, left_out, label, class_level))
    else:
        print("\n".join(table.check(listing.names(), source=label)))
        listing.assign_ids(table.parse)
    return listing


def _check_digests_of(paths: list[Path], sha256: Mapping[str, str]) -> None:
    if unknown := sorted(set(sha256) - {path.name for path in paths}):
        raise InputError(
            f"fetch.sha256: expected names of the source's archives. Received: {unknown[0]}, which "
            "is none of them. Correct fetch.sha256 in params.yaml."
        )
    check_digests(paths, sha256)


def _parse_folders(
    listing: Listing, left_out: LeftOut, label: str, class_level: int | None
) -> Parse:
    tables = ", ".join(map(printable, left_out.get(TABLE, (0, []))[1]))
    hint = (
        f"Tables beside the images: {tables}. If one has their labels, name it and its columns, as "
        "in -S 'fetch.labels={table: ../images/labels.csv, image: file, label: diagnosis}' "
        "(docs/data-sources.md)."
    )
    try:
        layout = read_layout(listing.names(), source=label, class_level=class_level)
    except InputError as error:
        if TABLE not in left_out:
            raise
        raise InputError(f"{error} {hint}") from None
    print("\n".join(layout.describe()))
    if TABLE in left_out and len({one.class_name for one in layout.places.values() if one}) < 2:
        raise InputError(f"{label}: expected two classes or more. Received: one. {hint}")
    return layout.parse


def _describe(left_out: LeftOut) -> list[str]:
    return [f"{n} x {kind} (e.g. {first!r})" for kind, (n, [first, *_]) in sorted(left_out.items())]


def _report_left_out(left_out: LeftOut, listing: Listing, label: str) -> None:
    """Print what is left out; refuse a source of which nothing here reads a good part."""
    if left_out:
        print(f"left out: {', '.join(_describe(left_out))}")
    unread = {kind: found for kind, found in left_out.items() if kind.endswith(UNREAD)}
    number = sum(n for n, _ in unread.values())
    if number > MOST_UNREAD * (number + sum(1 for _ in listing.names())):
        raise InputError(
            f"{label}: expected images. Received: many pictures of other kinds: "
            f"{', '.join(_describe(unread))}. Convert them to PNG or TIFF, or take them out."
        )


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


def _open(path: Path, limits: Limits, closing: ExitStack) -> tuple[Iterable[Member], Find]:
    if path.is_dir():
        return open_folder(path, limits=limits), lambda _, name: _file(path, name, limits)
    members = open_archive(path, limits=limits, closing=closing)
    return members, lambda number, _: members[number]


def _check_links(folder: Path) -> None:
    """Refuse a folder with links that lead out of it: DVC would share what they lead to."""
    root = Path(os.path.realpath(folder))  # `Path.resolve` of Python 3.11 ends on such a link
    for name in _names_below(folder):
        path = folder / name
        target = Path(os.path.realpath(path)) if path.is_symlink() else root
        if not target.is_relative_to(root) and (is_image(name) or is_archive(path)):
            raise InputError(
                f"{folder}: expected images in this folder. Received: {printable(name)}, a link to "
                f"{printable(str(target))}. What it leads to would be in data/raw and be pushed "
                "with it: take it out, or set advanced.fetch.outside_links to true."
            )


def _images(members: Iterable[Member], left_out: LeftOut, label: str) -> Iterator[tuple[int, str]]:
    """Yield number and name of each image, and count the other files."""
    for number, (name, _, kind, _) in enumerate(members):
        if reason := kind or reason_left_out(name):
            count, names = left_out.get(reason, (0, []))
            left_out[reason] = (count + 1, sorted([*names, name])[:FIRST])
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
        yield _file(folder, name, limits, kind)


def _file(folder: Path, name: str, limits: Limits, kind: str = "") -> Member:
    return Member(name, partial(read_file, folder / name, limits), kind, name)


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
