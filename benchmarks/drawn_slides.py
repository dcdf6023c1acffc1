"""Slides for the benchmarks and tests: pyramidal TIFF files, and drawn arrays of cores."""

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 256  # pixels
JPEG, RGB, YCBCR = 7, 2, 6
GLASS = 243  # grey level
SHORT, LONG, TEXT, RATIONAL = 3, 4, 2, 5
ReadTile = Callable[[int, int, int], NDArray[np.uint8]]  # level, left, top in pixels of the level


def write_pyramid(
    path: Path,
    size: tuple[int, int],
    read: ReadTile,
    *,
    downsamples: tuple[int, ...] = (1, 4, 16),
    mpp: float | None = 0.5,
    description: str = "",
) -> Path:
    """Write a tiled TIFF file with JPEG tiles and a directory for each level.

    Args:
        path: the file.
        size: width and height of the first level in pixels.
        read: returns a tile of a level, RGB uint8 (256, 256, 3).
        downsamples: of the levels.
        mpp: micrometres per pixel, written as resolution; None writes none.
        description: as scanners write it, such as "Aperio Image Library|AppMag = 20|MPP = 0.5".
    """
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(4))
        link = 4
        for level, downsample in enumerate(downsamples):
            shape = (-(-size[0] // downsample), -(-size[1] // downsample))
            places = [_write(file, tile) for tile in _tiles(read, level, shape)]
            tags = _tags(level, shape, places, mpp and mpp * downsample, description)
            at = file.seek(0, io.SEEK_END)
            file.write(bytes(at % 2))  # directories begin at even positions
            link = _write_directory(file, tags, link)
    return path


def levels_of(picture: NDArray[np.uint8], downsamples: tuple[int, ...] = (1, 4, 16)) -> ReadTile:
    """Return what reads the tiles of a picture in memory, RGB uint8 (H, W, 3)."""
    image = Image.fromarray(picture)
    shapes = [(-(-image.width // by), -(-image.height // by)) for by in downsamples]
    levels = [np.asarray(image.resize(shape, Image.Resampling.BOX)) for shape in shapes]

    def read(level: int, left: int, top: int) -> NDArray[np.uint8]:
        part = levels[level][top : top + TILE, left : left + TILE]
        tile = np.full((TILE, TILE, 3), GLASS, np.uint8)
        tile[: part.shape[0], : part.shape[1]] = part
        return tile

    return read


def _tiles(read: ReadTile, level: int, shape: tuple[int, int]) -> Iterator[bytes]:
    known = dict[bytes, bytes]()  # empty glass is most of a slide
    for top in range(0, shape[1], TILE):
        for left in range(0, shape[0], TILE):
            tile = read(level, left, top)
            key = tile.tobytes() if tile.min() == tile.max() else b""
            if key not in known or not key:
                buffer = io.BytesIO()
                Image.fromarray(tile).save(buffer, "JPEG", quality=90, subsampling=0)
                known[key] = buffer.getvalue()
            yield known[key]


def _write(file: io.BufferedWriter, content: bytes) -> tuple[int, int]:
    at = file.seek(0, io.SEEK_END)
    file.write(content)
    return at, len(content)


def _tags(
    level: int,
    shape: tuple[int, int],
    places: list[tuple[int, int]],
    mpp: float | None,
    description: str,
) -> dict[int, tuple[int, list[int] | bytes]]:
    tags: dict[int, tuple[int, list[int] | bytes]] = {
        254: (LONG, [int(level > 0)]),
        256: (LONG, [shape[0]]),
        257: (LONG, [shape[1]]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [JPEG]),
        262: (SHORT, [YCBCR]),
        277: (SHORT, [3]),
        284: (SHORT, [1]),
        322: (LONG, [TILE]),
        323: (LONG, [TILE]),
        324: (LONG, [at for at, _ in places]),
        325: (LONG, [count for _, count in places]),
        530: (SHORT, [1, 1]),
    }
    if description:
        tags[270] = (TEXT, description.encode() + b"\0")
    if mpp:
        per_cm = [round(1e4 / mpp * 1000), 1000]
        tags |= {282: (RATIONAL, per_cm), 283: (RATIONAL, per_cm), 296: (SHORT, [3])}
    return tags


def _write_directory(
    file: io.BufferedWriter, tags: dict[int, tuple[int, list[int] | bytes]], link: int
) -> int:
    """Write a directory at the end, enter it at the place `link`, return that of the next."""
    entries = []
    for tag, (kind, values) in sorted(tags.items()):
        if isinstance(values, bytes):
            packed, count = values, len(values)
        else:
            packed = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
            count = len(values) // 2 if kind == RATIONAL else len(values)
        if len(packed) > 4:
            packed = struct.pack("<I", _write(file, packed + bytes(len(packed) % 2))[0])
        entries.append(struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0"))
    at = file.seek(0, io.SEEK_END)
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    file.seek(link)
    file.write(struct.pack("<I", at))
    return at + 2 + 12 * len(entries)
