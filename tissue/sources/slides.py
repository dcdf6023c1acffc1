"""Slides of a source, cut into tiles that are images like all others."""

import io
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.config.fetch import Fetch
from tissue.slides.opening import (
    SINGLE_FILES,
    is_pyramid,
    is_slide,
    is_tiff,
    open_slide,
)
from tissue.slides.scale import read_scale
from tissue.slides.tiles import Tile, choose_tiles, read_tile
from tissue.sources.listing import Listing, SourceImage
from tissue.sources.raw import Row, Source

NAMED = 3  # slides in a message
DICOM = (".dcm", ".dicom")


class CutSlide(NamedTuple):
    """A slide, its file on this machine, and the tiles to cut from it."""

    image: SourceImage
    path: Path
    digest: str  # by OpenSlide, the same for all files of one slide
    tiles: list[Tile]


def with_tiles(
    listing: Listing, settings: Fetch, *, seed: int, workers: int, closing: ExitStack
) -> Source:
    """Return the images of a source, with tiles in place of its slides.

    Args:
        listing: images and slides.
        settings: `slides` and `mpp` are used.
        seed: of the choice of tiles.
        workers: threads that read slides.
        closing: closes what reads, and removes the slides that were unpacked from archives.

    Raises:
        InputError: if there are slides and the extra is missing, or one cannot be read.
    """
    found = [image for image in listing if _is_slide_file(image)]
    pool = closing.enter_context(ThreadPoolExecutor(workers))
    slides: dict[str, CutSlide] = {}
    if found and not settings.copy_images:
        raise InputError(
            "fetch.copy: expected pictures, where it is false, since tiles of slides are written. "
            f"Received: {len(found):,} slides, e.g. {printable(found[0].id)}. Set it to true."
        )
    if found:
        unpacked = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        slides = _cut_all(found, settings, seed, unpacked, pool)
    tiles = sum(len(slide.tiles) for slide in slides.values())
    empty = {slide.image.id for slide in slides.values() if not slide.tiles}
    ids = {image.id for image in found}
    classes = {
        image.class_name
        for image in listing
        if image.id not in ids or (image.id in slides and image.id not in empty)
    }
    images = _read(listing, slides, settings, pool)
    return Source(len(listing) - len(found) + tiles, sorted(classes), images)


def _cut_all(
    images: list[SourceImage], settings: Fetch, seed: int, unpacked: Path, pool: ThreadPoolExecutor
) -> dict[str, CutSlide]:
    places = [_file_of(image, unpacked / str(number)) for number, image in enumerate(images)]
    cut = pool.map(partial(_cut, settings=settings, seed=seed), images, places)
    found = list(tqdm(cut, "slides", len(images), unit="slide", disable=None))
    slides = _without_parts(found)
    _report(slides, settings)
    return {slide.image.id: slide for slide in slides}


def _is_slide_file(image: SourceImage) -> bool:
    if is_slide(image.id):
        return True
    if image.path is None or not is_tiff(image.id):
        return False
    with image.path.open("rb") as file:
        return is_pyramid(file)


def _file_of(image: SourceImage, unpacked: Path) -> Path:
    if image.path is not None:
        return image.path
    suffix = Path(image.id).suffix
    if suffix.lower() not in SINGLE_FILES:
        _refuse_in_archive(image)
    path = unpacked.with_suffix(suffix)
    path.write_bytes(image.read())
    return path


def _refuse_in_archive(image: SourceImage) -> None:
    raise InputError(
        f"{image.origin.name}: expected slides of this kind in a folder, where OpenSlide can read "
        f"parts of them. Received: {printable(image.id)} in an archive. Unpack it, and name the "
        "folder."
    )


def _cut(image: SourceImage, path: Path, *, settings: Fetch, seed: int) -> CutSlide | InputError:
    try:
        with open_slide(path, settings.mpp) as slide:
            # The id decides, whatever else the source holds.
            tiles = choose_tiles(slide, settings.slides, seed=(seed, crc32(image.id.encode())))
            return CutSlide(image, path, slide.digest, tiles)
    except InputError as error:
        if path.suffix.lower() in DICOM:
            return error
        raise


def _without_parts(found: Iterable[CutSlide | InputError]) -> list[CutSlide]:
    """Return each slide once: one of DICOM is several files, and some of them are no levels.

    Raises:
        InputError: if no file of a folder can be read.
    """
    slides, errors = dict[tuple[str, str], CutSlide](), list[InputError]()
    for one in found:
        if isinstance(one, InputError):
            errors.append(one)
        else:
            is_part = one.path.suffix.lower() in DICOM
            key = (one.path.parent.as_posix(), one.digest) if is_part else (one.image.id, "")
            slides.setdefault(key, one)
    if errors and not any(one.path.suffix.lower() in DICOM for one in slides.values()):
        raise errors[0]
    return list(slides.values())


def _report(slides: list[CutSlide], settings: Fetch) -> None:
    tiles, of = sum(len(slide.tiles) for slide in slides), settings.slides
    print(
        f"slides: {len(slides):,} give {tiles:,} tiles of {of.size} px at {of.mpp:g} micrometres "
        f"per pixel, at most {of.most} each (fetch.slides)"
    )
    empty = [printable(slide.image.id) for slide in slides if not slide.tiles]
    if empty:
        print(f"  no tile with tissue in {len(empty):,}: {', '.join(sorted(empty)[:NAMED])}")


def _read(
    listing: Listing, slides: dict[str, CutSlide], settings: Fetch, pool: ThreadPoolExecutor
) -> Iterator[tuple[Row, bytes]]:
    """Yield the row and the bytes of each image, and of the tiles in place of their slides."""
    for image in listing:
        if slide := slides.get(image.id):
            yield from _tiles(slide, settings, pool)
        elif not is_slide(image.id):  # else a further file of a slide
            content = image.read()
            if image.path is None and is_tiff(image.id) and is_pyramid(io.BytesIO(content)):
                _refuse_in_archive(image)
            mpp = read_scale(content) or settings.mpp
            yield {**_row(image), "mpp": f"{mpp:.4g}" if mpp else ""}, content


def _row(image: SourceImage) -> Row:
    return {
        "id": image.id,
        "split": image.split,
        "class": image.class_name,
        "source": image.origin.name,
        "donor": image.donor,
        "origin": str(image.origin),
        "member": image.name,
    }


def _tiles(cut: CutSlide, settings: Fetch, pool: ThreadPoolExecutor) -> Iterator[tuple[Row, bytes]]:
    of = settings.slides
    with open_slide(cut.path, settings.mpp) as slide:
        contents = pool.map(partial(read_tile, slide, settings=of), cut.tiles)
        for tile, content in zip(cut.tiles, contents, strict=True):
            row = {
                **_row(cut.image),
                "id": f"{cut.image.id}/y{tile.top:06}_x{tile.left:06}.jpg",
                "slide": cut.image.id,
                "x": tile.left,
                "y": tile.top,
                "mpp": f"{of.mpp:g}",
            }
            yield row, content
