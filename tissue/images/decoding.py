"""Decode image files to RGB uint8 of a fixed size.

Every stage and every prediction uses this decoder: images that are shrunk in another way would be
another data set.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tissue.config.schema import Split

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")  # JPEG includes files with further pictures (MPO)
# What Pillow raises for damaged files; the rarer ones come from broken headers of TIFF files.
DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError,
    struct.error, zlib.error,
)  # fmt: skip
MAX_SAMPLE_VALUE = 281  # tag of a TIFF file; some cameras write the largest level they can give
Image.MAX_IMAGE_PIXELS = None  # advanced.split.max_pixels takes its place


class UnreadableImageError(Exception):
    """An image file that cannot be used; the message says why."""


def decode(
    content: bytes, settings: Split, *, sizes: Sequence[int]
) -> tuple[list[NDArray[np.uint8]], int, int]:
    """Decode an image file once and shrink the whole image to squares.

    JPEG files are decoded at the smallest of libjpeg's scales that is at least twice as large as
    needed, then shrunk with an antialiasing filter: a 3000 px core takes a quarter of the time of
    a full decoding and differs from it by a fraction of a grey level. Images are turned by their
    EXIF orientation and centred on white, or on their own reflection, if they are not square;
    transparency becomes white.

    Args:
        content: a JPEG, PNG, TIFF, BMP or WebP file; grey, RGB, palette or CMYK, 8 or 16 bits per
            channel. Grey may also have 12 bits, or fewer bits than its 16 if the file says so.
        settings: `max_pixels`, `min_side`, `max_aspect` and `padding` are used.
        sizes: sides of the results, in pixels; each is shrunk from the decoded image.

    Returns:
        One image per size, uint8 (size, size, 3), and the width and height of the original in
        pixels, after it is turned.

    Raises:
        UnreadableImageError: if the file is damaged, of another kind, or outside the limits.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(*image.size, settings)
            _check_single(image)
            _check_planes(image)
            # Before the size: to find the EXIF data of a PNG file, Pillow reads all of it.
            deep = image.format in ("PNG", "TIFF") and ";16" in str(image.tile)
            width, height = _upright_size(image)
            rgb = _load_upright(image, 2 * max(sizes), deep=deep)
            boxes = [content_box(width, height, size) for size in sizes]
            return [_shrink(rgb, box, settings.padding) for box in boxes], width, height
    except UnidentifiedImageError:
        raise UnreadableImageError("is not a JPEG, PNG, TIFF, BMP or WebP image") from None
    except (*DAMAGED, MemoryError) as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from None


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


def _load_upright(image: Image.Image, side: int, *, deep: bool) -> Image.Image:
    """Return the image as RGB, reduced to about `side` pixels if the format allows it.

    `deep` says that the file has 16 bits per channel.
    """
    image.draft(None, (side, side))
    image.load()
    if deep and not image.mode.startswith("I"):
        # Pillow keeps the upper half of the 16 bits of each colour.
        ranges = cast("tuple[tuple[int, int], ...]", image.getextrema())
        named = zip(image.getbands(), ranges, strict=True)
        _check_depth(max(high for band, (_, high) in named if band != "A") << 8 | 0xFF, 16)
    # From here on, an error is in the description of the picture and not in the picture.
    with suppress(*DAMAGED):
        # In place: a copy of the largest image allowed takes 300 MB or more.
        ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _deep_grey_to_rgb(image)
    if image.mode == "F":
        raise UnreadableImageError("has floating-point grey values of unknown range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    # 16-bit grey comes as I;16 or, from some files, as 32-bit I with 16-bit values.
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise UnreadableImageError("has grey values outside 16 bits")
    tags = getattr(image, "tag_v2", {})  # of a TIFF file; Pillow only applies them to 8 bits
    bits = min(tags.get(ExifTags.Base.BitsPerSample, (16,))[0], 16)
    # A camera of 12 bits stores its levels as they are in files of 16.
    (largest,) = tags.get(MAX_SAMPLE_VALUE, (0,))[:1]
    if largest >= max(levels.max(), 0xFF):
        bits = min(int(largest).bit_length(), bits)
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    if not white_is_zero:
        _check_depth(int(levels.max()), bits)
    levels = (levels >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(~levels if white_is_zero else levels).convert("RGB")


def _check_depth(brightest: int, bits: int) -> None:
    # Clear glass is bright. Where no pixel reaches a quarter of the range, the camera had fewer
    # bits than the file, and all its pictures would be nearly black.
    if brightest < 1 << (bits - 2):
        raise UnreadableImageError(
            f"is nearly black: no level is above {brightest} of {(1 << bits) - 1}, as of a camera "
            f"with {max(brightest.bit_length(), 8)} bits in a file with {bits}; save it with 8 "
            "bits, or grey as TIFF with the tag MaxSampleValue (281)"
        )


def _shrink(image: Image.Image, box: tuple[slice, slice], padding: str) -> NDArray[np.uint8]:
    rows, columns = box
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    shrunk = np.asarray(image.resize(shape, Image.Resampling.BICUBIC, reducing_gap=2.0))
    size = max(shape)  # since one side of the image is as long as the square
    around = [(inside.start, size - inside.stop) for inside in box] + [(0, 0)]
    if padding == "reflect":
        return np.pad(shrunk, around, mode="reflect")
    return np.pad(shrunk, around, constant_values=255)
