"""Decode image files to RGB uint8 of a fixed size.

Every stage and every prediction uses this decoder: images that are shrunk in another way would be
another data set.
"""

import io
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from tissue.common.file_costs import DAMAGED, describe_exif, find_cost
from tissue.config.schema import Split
from tissue.images.colours import (
    check_depth,
    check_levels,
    deep_grey_to_rgb,
    flatten,
    float_to_rgb,
    to_srgb,
)
from tissue.images.kinds import (
    UnreadableImageError,
    check_cost,
    describe_kind,
    describe_tiff,
    without_texts,
)
from tissue.images.scales import field_pixels, to_field

# JPEG includes files with further pictures (MPO).
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "JPEG2000", "AVIF")
# Bytes that one text or profile of a PNG file may unpack to; of a larger one, only the picture is
# read.
PngImagePlugin.MAX_TEXT_CHUNK = 8_000_000
Read = TypeVar("Read")
Image.MAX_IMAGE_PIXELS = None  # advanced.split.max_pixels takes its place


def decode(
    content: bytes, settings: Split, *, sizes: Sequence[int], mpp: float | None = None
) -> tuple[list[NDArray[np.uint8]], int, int]:
    """Decode an image file once and shrink the whole image to squares.

    JPEG files are decoded at the smallest of libjpeg's scales that is at least twice as large as
    needed, then shrunk with an antialiasing filter: a 3000 px core takes a quarter of the time of
    a full decoding and differs from it by a fraction of a grey level. Images are turned by their
    EXIF orientation and centred on white, or on their own reflection, if they are not square;
    transparency becomes white.

    Args:
        content: a JPEG, PNG, TIFF, BMP, WebP, JPEG 2000 or AVIF file, or HEIC with pillow-heif;
            grey, RGB, palette or CMYK, 8 or 16 bits per channel. Grey may also have 12 bits, fewer
            bits than its 16 if the file says so, or be floating-point up to 1, 255 or 65535.
            Colours are converted to sRGB where the file has an ICC profile.
        settings: `max_pixels`, `min_side`, `max_aspect` and `field` are used.
        sizes: sides of the results, in pixels; each is shrunk from the decoded image.
        mpp: micrometres per pixel of the image, which `field` needs.

    Returns:
        One image per size, uint8 (size, size, 3), and the width and height of the original in
        pixels, after it is turned; those of its square if `field` is set.

    Raises:
        UnreadableImageError: if the file is damaged, of another kind, or outside the limits.
    """

    def shrunk(bare: bytes) -> tuple[list[NDArray[np.uint8]], int, int]:
        rgb, width, height = _load(bare, settings, 2 * max(sizes), mpp)
        boxes = [content_box(width, height, size) for size in sizes]
        return [_shrink(rgb, box) for box in boxes], width, height

    return _reported(shrunk, content)


def decode_rgb(
    content: bytes, settings: Split, *, side: int | None = None, mpp: float | None = None
) -> tuple[Image.Image, int, int]:
    """Decode an image file to upright RGB in sRGB, as `decode` does, and leave its size.

    With a `side`, JPEG files are decoded at the smallest of their scales that is not below it.
    """
    return _reported(lambda bare: _load(bare, settings, side, mpp), content)


def _reported(read: Callable[[bytes], Read], content: bytes) -> Read:
    """Read a file, and say of one that cannot be read what it is."""
    try:
        return read(content)
    except UnidentifiedImageError:
        kind = describe_kind(content)
        raise UnreadableImageError(
            "is not a JPEG, PNG, TIFF, BMP, WebP, JPEG 2000 or AVIF image that can be read"
            + (f": it is {kind}" if kind else "")
        ) from None
    except (*DAMAGED, MemoryError) as error:
        if "MAX_TEXT" in str(error) and len(bare := without_texts(content)) < len(content):
            return _reported(read, bare)
        kind = describe_tiff(content)
        reason = str(error) or type(error).__name__
        raise UnreadableImageError(reason + (f"; it is {kind}" if kind else "")) from None


def _load(
    content: bytes, settings: Split, side: int | None, mpp: float | None
) -> tuple[Image.Image, int, int]:
    check_cost(find_cost(content))
    square = field_pixels(settings, mpp)
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        _check_size(*image.size, settings)
        check_cost(describe_exif(len(image.info.get("exif", b""))))  # of AVIF and HEIC
        _check_single(image)
        _check_planes(image)
        # Before the size: to find the EXIF data of a PNG file, Pillow reads all of it.
        deep = image.format in ("PNG", "TIFF") and ";16" in str(image.tile)
        width, height = _upright_size(image)
        if square is None:
            return _load_upright(image, side, deep=deep), width, height
        if side:  # what is cut away needs no pixels
            side = math.ceil(side * max(1, max(width, height) / square))
        rgb = _load_upright(image, side, deep=deep)
        cut = round(square * max(rgb.size) / max(width, height))
        return to_field(rgb, cut), square, square


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats of Pillow that are read; HEIC needs an extra package."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def content_box(width: int, height: int, size: int) -> tuple[slice, slice]:
    """Return the rows and columns of a decoded square that hold the image; the rest is padding.

    Width and height are those of the original, as `decode` returns them.
    """
    scale = size / max(width, height)
    shown = [max(1, round(side * scale)) for side in (height, width)]
    rows, columns = (slice(at := (size - side) // 2, at + side) for side in shown)
    return rows, columns


def _check_size(width: int, height: int, settings: Split) -> None:
    problem = ""
    if width * height > settings.max_pixels:
        problem = f"more than advanced.split.max_pixels ({settings.max_pixels})"
    elif min(width, height) < settings.min_side:
        problem = f"less than advanced.split.min_side ({settings.min_side})"
    elif max(width, height) > settings.max_aspect * min(width, height):
        problem = f"longer than advanced.split.max_aspect ({settings.max_aspect:g})"
    if problem:
        raise UnreadableImageError(f"{width} x {height} pixels are {problem}")


def _check_single(image: Image.Image) -> None:
    # Counting the pages of a TIFF file reads the header of each, so only look for a second one.
    if image.format == "TIFF":
        try:
            image.seek(1)
        except EOFError:
            image.seek(0)
            return
        raise UnreadableImageError("holds several pictures instead of one")
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format != "MPO":
        raise UnreadableImageError(f"holds {pictures} pictures instead of one")


def _check_planes(image: Image.Image) -> None:
    # Pillow (13.0) reads uncompressed planes as if they had 8 bits and black were zero.
    tags = getattr(image, "tag_v2", {})
    in_planes = tags.get(ExifTags.Base.PlanarConfiguration) == 2
    if in_planes and tags.get(ExifTags.Base.Compression, 1) == 1:
        bits = max(tags.get(ExifTags.Base.BitsPerSample, (1,)))
        if bits > 8 or tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
            raise UnreadableImageError(
                "has its channels one after the other, which can be read with 8 bits only; save it "
                "with the channels of each pixel together (PlanarConfiguration 1)"
            )


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if image.format != "TIFF":  # Pillow already turns the size of TIFF files
        with suppress(*DAMAGED):
            if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):  # on its side
                return height, width
    return width, height


def _load_upright(image: Image.Image, side: int | None, *, deep: bool) -> Image.Image:
    """Return the image as RGB, reduced to about `side` pixels if the format allows it.

    `deep` says that the file has 16 bits per channel.
    """
    if side:
        image.draft(None, (side, side))
    image.load()
    if deep and not image.mode.startswith("I"):
        # Pillow keeps the upper half of the 16 bits of each colour.
        ranges = cast("tuple[tuple[int, int], ...]", image.getextrema())
        named = zip(image.getbands(), ranges, strict=True)
        check_depth(max(high for band, (_, high) in named if band != "A") << 8 | 0xFF, 16)
    # From here on, an error is in the description of the picture and not in the picture.
    with suppress(*DAMAGED):
        # In place: a copy of the largest image allowed takes 300 MB or more.
        ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return deep_grey_to_rgb(image)
    if image.mode == "F":
        return float_to_rgb(image)
    if image.has_transparency_data:
        return flatten(image)
    if image.format != "JPEG" and image.mode in ("L", "RGB"):
        check_levels(image)
    profile = image.info.get("icc_profile")
    return to_srgb(image if image.mode in ("L", "CMYK") else image.convert("RGB"), profile)


def _shrink(image: Image.Image, box: tuple[slice, slice]) -> NDArray[np.uint8]:
    rows, columns = box
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    shrunk = np.asarray(image.resize(shape, Image.Resampling.BICUBIC, reducing_gap=2.0))
    size = max(shape)  # since one side of the image is as long as the square
    around = [(inside.start, size - inside.stop) for inside in box] + [(0, 0)]
    return np.pad(shrunk, around, constant_values=255)
