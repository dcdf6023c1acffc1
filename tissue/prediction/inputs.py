"""The pictures that `predict` is given: a file, a folder or an archive, read where they are."""

import glob
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.config.fetch import Limits
from tissue.config.schema import Params
from tissue.images.decoding import decode_rgb
from tissue.images.kinds import UnreadableImageError
from tissue.slides.opening import is_slide
from tissue.slides.scale import read_scale
from tissue.sources.archives import Member, is_archive, open_archive
from tissue.sources.file_names import check_cells, check_text, is_image
from tissue.sources.local import find_archives, open_folder, read_file

BATCH, BATCH_BYTES = 32, 400_000_000  # pictures in memory, and about their bytes
LARGE = 20_000_000  # bytes of a file, or of its pixels, that are decoded one at a time
State = tuple[int, int]  # of a file: bytes, and time of the last change


class Picture(NamedTuple):
    """A decoded picture, RGB uint8 (H, W, 3), and its file; or why it could not be read.

    `mpp` are its micrometres per pixel and `field` those along its longer side, where known.
    """

    id: str
    problem: str = ""
    pixels: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
    content: bytes = b""
    mpp: float | None = None
    field: float | None = None


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
    for path in paths:
        check_text(path.as_posix(), source=str(path))
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


def cases_of(members: Sequence[Member], source: str) -> Iterator[tuple[str, list[Member]]]:
    """Yield the folders that hold pictures, sorted by name, and the pictures in each of them.

    The `source` names the folder of pictures that have none in their names.
    """

    def folder(member: Member) -> str:
        return PurePosixPath(member.name).parent.as_posix()

    for name, inside in groupby(sorted(members, key=folder), folder):
        case = Path(source).resolve().name if name == "." else name
        check_text(case, source=source)
        check_cells([case], source=source)
        yield case, list(inside)


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
    """Read and decode pictures as `split` does, one batch at a time.

    A batch ends early where its pictures are large, and holds one at least.
    """
    read = partial(read_picture, params=params, lock=Lock())
    with ThreadPoolExecutor(params.threads) as pool:
        batch, size, left = [], 0, iter(members)
        while ahead := list(islice(left, params.threads)):
            found = list(pool.map(read, ahead))
            size += sum(len(one.content) + one.pixels.nbytes for one in found)
            batch += found
            del found  # else they would stay in memory while the next ones are read
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def read_picture(member: Member, params: Params, lock: AbstractContextManager) -> Picture:
    """Read and decode a picture; the `lock` is held while its file is read."""
    try:
        with ExitStack() as locked:
            locked.enter_context(lock)  # several members may be of one archive
            content = member.read()
            if len(content) < LARGE:
                locked.close()
            mpp = read_scale(content) or params.fetch.mpp
            rgb, *sides = decode_rgb(content, params.split, side=_decoded_side(params), mpp=mpp)
    except (InputError, OSError, UnreadableImageError) as error:
        return Picture(member.name, str(error))
    field = None if mpp is None else mpp * max(sides)
    return Picture(member.name, "", np.asarray(rgb), content, mpp, field)


def _decoded_side(params: Params) -> int:
    """Return the side at which `split` decodes JPEG files at least."""
    crops = params.split.crops
    return 2 * params.image_size * (crops.zoom if crops.count else 1)
