"""Whole slides, read by OpenSlide, an extra: their scale, an overview, and regions of them.

A slide is a picture too large for memory, of glass in transmitted light, that a scanner wrote as a
pyramid of levels. Positions are pixels of its first level, the largest.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from tissue.common.errors import InputError
from tissue.common.file_costs import DAMAGED, TIFF_STARTS
from tissue.slides.scale import MPP_RANGE, ome_scale

if TYPE_CHECKING:
    import openslide

SINGLE_FILES = frozenset({".svs", ".ndpi", ".scn", ".bif", ".svslide"})
# The pixels of these are in other files beside the one with the name.
WITH_OTHERS = frozenset({".mrxs", ".vms", ".vmu", ".dcm", ".dicom"})
SLIDE_SUFFIXES = SINGLE_FILES | WITH_OTHERS
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
TILE_WIDTH, SUB_DIRECTORIES = 322, 330  # tags of a TIFF file
LARGE = 100_000_000  # pixels; a tiled TIFF file with more is a slide even without a pyramid
LEVEL_TOLERANCE = 1.01  # sides are rounded, so that a level is 4.001 times as small
MOST_AT_ONCE = 4096  # pixels along a side that are read at once
ALMOST = 1e-6  # of a pixel: what rounding adds


class Slide(NamedTuple):
    """An open slide: what reads it, its scale, and the rectangle that holds its pixels."""

    path: Path
    reader: "openslide.OpenSlide"
    mpp: float  # micrometres per pixel
    left: int
    top: int
    width: int
    height: int
    profile: bytes | None  # of the colours (ICC), if the scanner wrote one

    @property
    def digest(self) -> str:
        """A digest by OpenSlide, the same for all files of one slide."""
        return self.reader.properties.get("openslide.quickhash-1", "")

    def region(
        self, corner: tuple[float, float], span: tuple[float, float], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return a rectangle at a chosen size, RGB uint8 (height, width, 3).

        A slide may lack the levels to read much of it at once, so that is read in parts.

        Args:
            corner: left and top.
            span: width and height in pixels of the first level.
            size: width and height of the result in pixels.

        Raises:
            InputError: if the file is damaged there.
        """
        level = self.reader.get_best_level_for_downsample(_shrinking(span, size) * LEVEL_TOLERANCE)
        longer = int(span[1] > span[0])
        if span[longer] > MOST_AT_ONCE * self.reader.level_downsamples[level] and size[longer] > 1:
            parts, done = [], 0
            for part in (size[longer] // 2, size[longer] - size[longer] // 2):
                at, over, to = list(corner), list(span), list(size)
                at[longer] += done * span[longer] / size[longer]
                over[longer] *= part / size[longer]
                to[longer], done = part, part
                parts.append(self.region((at[0], at[1]), (over[0], over[1]), (to[0], to[1])))
            return np.concatenate(parts, axis=1 - longer)
        return self._read(corner, span, size, level)

    def _read(
        self,
        corner: tuple[float, float],
        span: tuple[float, float],
        size: tuple[int, int],
        level: int,
    ) -> NDArray[np.uint8]:
        down = self.reader.level_downsamples[level]
        start = (math.floor(corner[0]), math.floor(corner[1]))
        left, top = ((at - first) / down for at, first in zip(corner, start, strict=True))
        right, bottom = left + span[0] / down, top + span[1] / down
        sides = (math.ceil(right - ALMOST), math.ceil(bottom - ALMOST))
        with _readable(self.path):
            image = _on_white(self.reader.read_region(start, level, sides))
        if sides == size:
            return np.asarray(image)
        box = (left, top, min(right, sides[0]), min(bottom, sides[1]))
        # First by means of whole pixels, which is much faster
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=1.0))

    def overview(self, span: float) -> NDArray[np.uint8]:
        """Return the whole slide, one pixel for each square of side `span`, RGB (H, W, 3)."""
        columns, rows = max(1, int(self.width / span)), max(1, int(self.height / span))
        return self.region((self.left, self.top), (columns * span, rows * span), (columns, rows))


def _shrinking(span: tuple[float, float], size: tuple[int, int]) -> float:
    return max(1.0, min(span[0] / size[0], span[1] / size[1]))


def is_slide(name: str) -> bool:
    """Return whether a name is that of a slide; TIFF files have to be looked into."""
    return PurePosixPath(name).suffix.lower() in SLIDE_SUFFIXES


def is_tiff(name: str) -> bool:
    """Return whether a name is that of a TIFF file."""
    return PurePosixPath(name).suffix.lower() in TIFF_SUFFIXES


def is_pyramid(file: IO[bytes]) -> bool:
    """Return whether a TIFF file is a slide: in tiles, with smaller levels or very large."""
    start = file.read(16)
    if not start.startswith(TIFF_STARTS):
        return False
    with warnings.catch_warnings(action="ignore"), suppress(*DAMAGED):
        return _has_smaller_levels(file, start)
    return False  # as a picture, it will be rejected with a reason


def _has_smaller_levels(file: IO[bytes], start: bytes) -> bool:
    tags = TiffImagePlugin.ImageFileDirectory_v2(start if b"+" in start[2:4] else start[:8])
    file.seek(tags.next)
    tags.load(file)
    width, height = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
    if TILE_WIDTH not in tags:
        return False
    if SUB_DIRECTORIES in tags or width * height > LARGE:
        return True
    if not tags.next:
        return False
    file.seek(tags.next)
    tags.load(file)
    return tags[ExifTags.Base.ImageWidth] < width


@contextmanager
def open_slide(path: Path, mpp: float | None = None) -> Iterator[Slide]:
    """Open a slide, and close it at the end.

    Args:
        path: the file that OpenSlide is given.
        mpp: micrometres per pixel, where the file does not tell them.

    Raises:
        InputError: if the extra is missing, the file is no slide, or nobody tells its scale.
    """
    openslide = _openslide(path)
    with _readable(path):
        reader = openslide.OpenSlide(path)
    with reader:
        found = _scale(reader) or mpp
        if found is None:
            raise InputError(
                f"{path}: expected its micrometres per pixel. Received: a slide that does not tell "
                "them. Set fetch.mpp, for all files that do not."
            )
        bounds = [reader.properties.get(f"openslide.bounds-{one}") for one in ("x", "y")]
        size = [reader.properties.get(f"openslide.bounds-{one}") for one in ("width", "height")]
        left, top = (int(one or 0) for one in bounds)
        width, height = (
            int(one or side) for one, side in zip(size, reader.dimensions, strict=True)
        )
        profile = reader.color_profile
        colours = None if profile is None else profile.tobytes()
        yield Slide(path, reader, found, left, top, width, height, colours)


def _openslide(path: Path) -> ModuleType:
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise InputError(
            f"{path}: expected OpenSlide, which reads slides. Received: {error}. Run: pip install "
            "-r requirements/slides.txt. Or take the slides out of fetch.source."
        ) from None
    return openslide


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import openslide

    try:
        yield
    except (openslide.OpenSlideError, OSError) as error:
        what = "is no slide of a kind that it knows, or is damaged"
        known = isinstance(error, openslide.OpenSlideUnsupportedFormatError)
        raise InputError(
            f"{path}: expected a slide that OpenSlide reads. Received: a file that "
            f"{what if known else f'it cannot read, {error}'}. Repair it or take it out."
        ) from None


def _on_white(image: Image.Image) -> Image.Image:
    """Return RGB with white where the scanner has not been."""
    scanned = image.getchannel("A")
    if scanned.getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=scanned)
    return white


def _scale(reader: "openslide.OpenSlide") -> float | None:
    """Return micrometres per pixel by the slide, None if it tells nothing that can be true."""
    told = [reader.properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
    comment = reader.properties.get("openslide.comment", "")
    if not all(told):
        return ome_scale(comment)
    mpp = math.prod(float(one) for one in told if one) ** (1 / len(told))
    return mpp if MPP_RANGE[0] <= mpp <= MPP_RANGE[1] else None
