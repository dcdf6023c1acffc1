"""The pictures that `predict` is given: a file, a folder or an archive, read where they are."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.config.schema import Limits, Params
from tissue.images.kinds import UnreadableImageError
from tissue.images.reading import read_image
from tissue.slides.opening import is_slide
from tissue.sources.archives import Member, is_archive, open_archive
from tissue.sources.file_names import check_text, is_image
from tissue.sources.local import find_archives, open_folder, read_file

BATCH = 32  # as in `embed`


class Picture(NamedTuple):
    """A decoded picture, or why it could not be read.

    `image` is uint8 (S, S, 3), `crops` uint8 (C, S, S, 3) with C = 0 where `split` keeps none, and
    `tissue` the share of pixels that show tissue.
    """

    id: str
    problem: str = ""
    image: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
    crops: NDArray[np.uint8] = np.zeros((0, 0, 0, 3), np.uint8)
    tissue: float = 0.0


def stack_pictures(
    pictures: Sequence[Picture],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return images (N, S, S, 3) and crops (N, C, S, S, 3), None where `split` keeps none."""
    crops = np.stack([picture.crops for picture in pictures])
    return np.stack([picture.image for picture in pictures]), crops if crops.size else None


def list_pictures(source: Path, *, limits: Limits, closing: ExitStack) -> list[Member]:
    """List the pictures of a file, folder or archive, sorted by name.

    A folder that holds archives and no picture means its archives, which `closing` closes.

    Raises:
        InputError: if there is no picture, or an archive is damaged or unsafe.
    """
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
        print(f"left out: {left} files that are links, hidden, slides or no pictures")
    return pictures


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
    read = partial(_read, params=params, lock=Lock())
    with ThreadPoolExecutor(params.threads) as pool:
        for start in range(0, len(members), BATCH):
            yield list(pool.map(read, members[start : start + BATCH]))


def _read(member: Member, *, params: Params, lock: Lock) -> Picture:
    try:
        with lock:  # several members may be of one archive
            content = member.read()
        read = read_image(content, params.split, size=params.image_size)
    except (InputError, OSError, UnreadableImageError) as error:
        return Picture(member.name, str(error))
    return Picture(member.name, "", read.image, read.crops, read.quality["tissue_fraction"])
