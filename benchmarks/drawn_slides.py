"""Slides for the benchmarks and tests: pyramidal TIFF files, and drawn arrays of cores."""

import io
import struct
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tissue.phantom.core import draw_core
from tissue.phantom.plan import Core, plan_cores

TILE = 256  # pixels
JPEG, YCBCR = 7, 6
GLASS = 243  # grey level
SHORT, LONG, TEXT, RATIONAL = 3, 4, 2, 5
Tags = dict[int, tuple[int, list[int] | bytes]]  # type and values by number
ReadTile = Callable[[int, int, int], NDArray[np.uint8]]  # level, left, top in pixels of the level


def write_pyramid(
    path: Path,
    size: tuple[int, int],
    read: ReadTile,
    *,
    downsamples: tuple[int, ...] = (1, 4, 16),
    mpp: float | None = 0.5,
    description: str = "",
    more: Callable[[int], Tags] = lambda _: {},
) -> Path:
    """Write a tiled TIFF file with JPEG tiles and a directory for each level.

    Args:
        path: the file.
        size: width and height of the first level in pixels.
        read: returns a tile of a level, RGB uint8 (256, 256, 3).
        downsamples: of the levels.
        mpp: micrometres per pixel, written as resolution; None writes none.
        description: as scanners write it, such as "Aperio Image Library|AppMag = 20|MPP = 0.5".
        more: returns further tags of a level.
    """
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(4))
        link = 4
        for level, downsample in enumerate(downsamples):
            shape = (-(-size[0] // downsample), -(-size[1] // downsample))
            places = [write_bytes(file, tile) for tile in _tiles(read, level, shape)]
            tags = _tags(level, shape, places, mpp and mpp * downsample, description)
            link = write_directory(file, tags | more(level), link)
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


def write_bytes(file: io.BufferedWriter, content: bytes) -> tuple[int, int]:
    """Write bytes at the end of a file; return where they are, and how many."""
    at = file.seek(0, io.SEEK_END)
    file.write(content)
    return at, len(content)


def _tags(
    level: int,
    shape: tuple[int, int],
    places: list[tuple[int, int]],
    mpp: float | None,
    description: str,
) -> Tags:
    tags: Tags = {
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


def write_directory(file: io.BufferedWriter, tags: Tags, link: int, *, pointer: int = 4) -> int:
    """Write a directory at the end, enter it at the place `link`, return that of the next.

    A `pointer` to the next directory has 4 bytes, or 8 in NDPI.
    """
    entries = []
    for tag, (kind, values) in sorted(tags.items()):
        if isinstance(values, bytes):
            packed, count = values, len(values)
        else:
            packed = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
            count = len(values) // 2 if kind == RATIONAL else len(values)
        if len(packed) > 4:
            packed = struct.pack("<I", write_bytes(file, packed + bytes(len(packed) % 2))[0])
        entries.append(struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0"))
    at = file.seek(0, io.SEEK_END)
    at += file.write(bytes(at % 2))  # directories begin at even positions
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(pointer))
    file.seek(link)
    file.write(struct.pack("<I", at))
    return at + 2 + 12 * len(entries)


class DrawnCore(NamedTuple):
    """The truth of a place on an array: its centre in pixels, and whether tissue is there."""

    row: int
    column: int
    class_name: str
    donor: str
    x: float
    y: float
    is_present: bool


@cache
def _pictures(size: int) -> list[tuple[Core, NDArray[np.uint8]]]:
    plan = plan_cores(train_per_class=4, test_per_class=0, size=size, seed=3)
    return [(core, draw_core(core)) for core in plan]


def draw_array(
    seed: int,
    *,
    rows: int = 8,
    columns: int = 10,
    size: int = 96,
    degrees: float = 5.0,
    missing: float = 0.1,
    torn: float = 0.05,
    shift: float = 0.06,
) -> tuple[NDArray[np.uint8], list[DrawnCore]]:
    """Return an array of cores of the phantom, RGB uint8 (H, W, 3), and the truth.

    Args:
        seed: of everything.
        rows, columns: of the grid.
        size: side of the picture of a core in pixels; neighbours are 1.05 to 1.3 times as far.
        degrees: of rotation.
        missing: share of the places without tissue.
        torn: share of the places where one half is lost.
        shift: standard deviation of the places, to `size`.
    """
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(1.05, 1.3, 2) * size
    turned = np.radians(degrees)
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    reach = np.array([columns, rows]) * pitch
    side = np.ceil(np.abs(turn) @ reach + 1.5 * size).astype(int)
    picture = np.full((side[1], side[0], 3), GLASS, np.float32)
    truth = []
    for row, column in product(range(rows), range(columns)):
        offset = (np.array([column, row]) + 0.5) * pitch - reach / 2
        x, y = turn @ offset + side / 2 + rng.normal(0, shift * size, 2)
        core, tissue = _pictures(size)[rng.integers(len(_pictures(size)))]
        tissue = np.rot90(tissue, int(rng.integers(4)))
        if rng.random() < torn:
            tissue = tissue.copy()
            tissue[:, : size // 2] = GLASS
        is_present = bool(rng.random() >= missing)
        if is_present:
            left, top = round(x - size / 2), round(y - size / 2)
            picture[top : top + size, left : left + size] *= np.minimum(tissue / GLASS, 1)
        truth.append(DrawnCore(row, column, core.class_name, core.donor, x, y, is_present))
    return picture.astype(np.uint8), truth


def count_right(
    found: list[tuple[int, int, float, float, bool]], truth: list[DrawnCore], size: int = 96
) -> int:
    """Return how many places are right: missing as drawn, or within a quarter of a picture.

    Args:
        found: row, column, x and y in pixels of the picture, and whether there is tissue.
        truth: as drawn.
        size: of the picture of a core.
    """
    by_place = {(one[0], one[1]): one for one in found}
    right = 0
    for core in truth:
        one = by_place.get((core.row, core.column))
        if one is None or one[4] != core.is_present:
            continue
        right += not core.is_present or np.hypot(one[2] - core.x, one[3] - core.y) < size / 4
    return right
