"""The pictures that `predict` is given: a file, a folder or an archive, read where they are."""

import glob
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.config.schema import Limits, Params
from tissue.images.decoding import decode_rgb
from tissue.images.kinds import UnreadableImageError
from tissue.slides.opening import is_slide
from tissue.sources.archives import Member, is_archive, open_archive
from tissue.sources.file_names import check_text, is_image
from tissue.sources.local import find_archives, open_folder, read_file

BATCH = 32  # pictures in memory
State = tuple[int, int]  # of a file: bytes, and time of the last change


class Picture(NamedTuple):
    """A decoded picture, RGB uint8 (H, W, 3), and its file; or why it could not be read."""

    id: str
    problem: str = ""
    pixels: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
    content: bytes = b""


def list_pictures(sources: Sequence[str], *, limits: Limits, closing: ExitStack) -> list[Member]:
    """List the pictures of files, folders and archives, each sorted by name.

    A folder that holds archives and no picture means its archives, which `closing` closes. Of
    several sources, the path of each stands in front of its pictures' names.

    Args:
        sources: paths, or patterns such as `slides/**/*.png`, which shells may have left as they
            are.
        limits: of archives and files.
        closing: see above.

    Raises:
        InputError: if a source has no picture, or an archive is damaged or unsafe.
    """
    paths = list(dict.fromkeys(path for source in sources for path in _expand(source)))
    if len(paths) == 1:
        return _list_source(paths[0], limits, closing)
    named = [
        member._replace(
            name=path.as_posix() if _is_file(path) else f"{path.as_posix()}/{member.name}"
        )
        for path in paths
        for member in _list_source(path, limits, closing)
    ]
    return list({member.name: member for member in named}.values())


def _is_file(path: Path) -> bool:
    return path.is_file() and not is_archive(path)


def _expand(source: str) -> list[Path]:
    """Return the paths that a pattern matches, or the path itself."""
    if Path(source).exists() or not glob.has_magic(source):
        return [Path(source)]
    found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  it may be absolute
    if not found:
        raise InputError(
            f"{source}: expected a pattern that matches pictures, folders or archives. Received: "
            f"no match under {Path.cwd()}."
        )
    return [Path(name) for name in found]


def _list_source(source: Path, limits: Limits, closing: ExitStack) -> list[Member]:
    found = sorted(_members(source, limits, closing), key=lambda member: member.name)
    pictures = [
        member
        for member in found
        if is_image(member.name) and not is_slide(member.name) and not member.kind
    ]
    for member in pictures:
        check_text(member.name, source=str(source))
    if not pictures:
        raise InputError(
            f"{source}: expected pictures (JPEG, PNG, TIFF, BMP, WebP, JPEG 2000, AVIF). "
            f"Received: {len(found)} other files. Name another file, folder or archive."
        )
    if left := len(found) - len(pictures):
        print(
            f"left out: {left} files that are links, hidden, slides or no pictures", file=sys.stderr
        )
    return pictures


def arrivals(
    folder: Path, *, limits: Limits, poll: Callable[[], None] = lambda: time.sleep(1)
) -> Iterator[list[Member]]:
    """Yield the pictures of a folder, and for ever those that arrive in it, once they are whole.

    A file whose size and time changed since the last `poll`, which waits, may still be written. One
    whose name no table can hold is named, and left out.
    """
    before: dict[str, State] = {}
    answered: dict[str, State] = {}
    refused: set[str] = set()
    while True:
        states = dict(_states(folder, refused))
        whole = [
            name
            for name, state in states.items()
            if before.get(name) == state != answered.get(name)
        ]
        if whole:
            answered |= {name: states[name] for name in whole}
            yield [Member(name, partial(read_file, folder / name, limits)) for name in whole]
        before = states
        poll()


def _states(folder: Path, refused: set[str]) -> Iterator[tuple[str, State]]:
    """Yield the name, size and time of each picture; `refused` are names that were warned of."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in refused or not is_image(path.name) or path.name.startswith("."):
            continue
        try:
            check_text(name, source=str(folder))
            found = path.stat()
        except InputError as error:
            refused.add(name)
            print(printable(f"left out: {error}"), file=sys.stderr)
        except OSError:  # it has gone in the meantime
            continue
        else:
            if stat.S_ISREG(found.st_mode):
                yield name, (found.st_size, found.st_mtime_ns)


def _members(source: Path, limits: Limits, closing: ExitStack) -> list[Member]:
    if source.is_dir():
        archives = find_archives(source)
        if not archives:
            return list(open_folder(source, limits=limits))
        return [
            member._replace(name=f"{archive.relative_to(source).as_posix()}/{member.name}")
            for archive in archives
            for member in open_archive(archive, limits=limits, closing=closing)
        ]
    if not source.is_file():
        raise InputError(
            f"{source}: expected a picture, a folder or an archive. Received: no such file under "
            f"{Path.cwd()}."
        )
    if is_archive(source):
        return open_archive(source, limits=limits, closing=closing)
    return [Member(source.name, partial(read_file, source, limits))]


def read_picture_batches(members: Sequence[Member], params: Params) -> Iterator[list[Picture]]:
    """Read and decode pictures as `split` does, one batch at a time."""
    read = partial(read_picture, params=params, lock=Lock())
    with ThreadPoolExecutor(params.threads) as pool:
        for start in range(0, len(members), BATCH):
            yield list(pool.map(read, members[start : start + BATCH]))


def read_picture(member: Member, params: Params, lock: AbstractContextManager) -> Picture:
    """Read and decode a picture; the `lock` is held while its file is read."""
    try:
        with lock:  # several members may be of one archive
            content = member.read()
        rgb, _, _ = decode_rgb(content, params.split, side=_decoded_side(params))
    except (InputError, OSError, UnreadableImageError) as error:
        return Picture(member.name, str(error))
    return Picture(member.name, "", np.asarray(rgb), content)


def _decoded_side(params: Params) -> int:
    """Return the side at which `split` decodes JPEG files at least."""
    crops = params.split.crops
    return 2 * params.image_size * (crops.zoom if crops.count else 1)
