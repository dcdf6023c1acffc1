"""The one decoder: bytes of an image file to RGB uint8 of a fixed size.

Every stage and every prediction goes through it, since two decoders that shrink differently
are two data sets.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# A JPEG file that holds further pictures (MPO) is opened as a JPEG one, too.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
# What Pillow raises at damaged files; the more exotic ones come from broken headers of TIFF files.
ODD = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
)
DAMAGED = (*ODD, MemoryError)
ORIENTATION, LYING = ExifTags.Base.Orientation, (5, 6, 7, 8)  # the latter on one of its sides
Image.MAX_IMAGE_PIXELS = None  # `max_pixels` below takes its place


class UnreadableImageError(ValueError):
    """An image file that cannot be used; the message says why."""


def decode(
    content: bytes, *, size: int, max_pixels: int, min_side: int = 1, max_aspect: float = np.inf
) -> tuple[NDArray[np.uint8], int, int]:
    """Decode an image file to one size, see `decode_sizes`."""
    (image,), width, height = decode_sizes(
        content, sizes=(size,), max_pixels=max_pixels, min_side=min_side, max_aspect=max_aspect
    )
    return image, width, height


def decode_sizes(
    content: bytes,
    *,
    sizes: Sequence[int],
    max_pixels: int,
    min_side: int = 1,
    max_aspect: float = np.inf,
) -> tuple[list[NDArray[np.uint8]], int, int]:
    """Decode an image file once and shrink it, whole, to squares.

    JPEG files are decoded at the smallest of libjpeg's scales that is still twice as large as
    needed, then shrunk with an antialiasing filter: a 3000 px core takes a quarter of the time of
    a full decoding and differs from it by a fraction of a grey level. Images that are not square
    are centred on white. Turned by their EXIF orientation; transparency becomes white.

    Args:
        content: a JPEG, PNG, TIFF, BMP or WebP file; grey, RGB, palette or CMYK, 8 or 16 bit
            (grey also 12).
        sizes: sides of the results, in pixels, each shrunk from the decoded image.
        max_pixels: the most pixels that are decoded.
        min_side: the fewest pixels a side.
        max_aspect: the most that the longer side may be of the shorter one.

    Returns:
        An image of each size, uint8 (size, size, 3), and width and height of the original, in
        pixels, turned as the images are.

    Raises:
        UnreadableImageError: if the file is no whole image of these kinds, or too large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            _check_shape(width, height, max_pixels, min_side, max_aspect)
            _check_single(image)
            _check_planes(image)
            image.draft(None, (2 * max(sizes), 2 * max(sizes)))
            # Of a TIFF file Pillow gives the size turned.
            if image.format != "TIFF" and _lies(image):
                width, height = height, width
            image.load()
            # What fails now is the description of the picture, and not the picture.
            with suppress(*ODD):
                # In place, as below: a copy of the largest image allowed takes 300 MB or more.
                ImageOps.exif_transpose(image, in_place=True)
            rgb = _to_rgb(image)
            images = [_fit(rgb, size, content_box(width, height, size)) for size in sizes]
            return images, width, height
    except UnidentifiedImageError:
        raise UnreadableImageError("is not a JPEG, PNG, TIFF, BMP or WebP image") from None
    except UnreadableImageError:
        raise
    except DAMAGED as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from None


def content_box(width: int, height: int, size: int) -> tuple[slice, slice]:
    """Return rows and columns of a decoded square that hold the image; the rest is padding.

    Args:
        width, height: of the original, as `decode_sizes` returns them.
        size: side of the square, in pixels.
    """
    scale = size / max(width, height)
    shown = [max(1, round(side * scale)) for side in (height, width)]
    rows, columns = (slice(at := (size - side) // 2, at + side) for side in shown)
    return rows, columns


def _check_shape(
    width: int, height: int, max_pixels: int, min_side: int, max_aspect: float
) -> None:
    shape = f"{width} x {height} pixels"
    if width * height > max_pixels:
        raise UnreadableImageError(f"{shape} are more than split.max_pixels ({max_pixels})")
    if min(width, height) < min_side:
        raise UnreadableImageError(f"{shape} are less than split.min_side ({min_side})")
    if max(width, height) > max_aspect * min(width, height):
        raise UnreadableImageError(f"{shape} are longer than split.max_aspect ({max_aspect:g})")


def _check_single(image: Image.Image) -> None:
    # Counting the pages of a TIFF file reads the header of each; whether there are two is enough.
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
    # Pillow (13.0) reads planes that are not compressed as if they had 8 bits and black were zero.
    tags = getattr(image, "tag_v2", {})
    in_planes = tags.get(ExifTags.Base.PlanarConfiguration) == 2
    if in_planes and tags.get(ExifTags.Base.Compression, 1) == 1:
        bits = max(tags.get(ExifTags.Base.BitsPerSample, (1,)))
        if bits > 8 or tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
            raise UnreadableImageError(
                "has its channels one after the other, which can be read with 8 bits only; save it "
                "with the channels of each pixel together (PlanarConfiguration 1)"
            )


def _lies(image: Image.Image) -> bool:
    with suppress(*ODD):
        return image.getexif().get(ORIENTATION) in LYING
    return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey comes as I;16 or, from some files, as 32-bit I with 16-bit values.
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise UnreadableImageError("has grey values outside 16 bits")
        tags = getattr(image, "tag_v2", {})  # of a TIFF file; Pillow heeds them at 8 bits alone
        bits = min(tags.get(ExifTags.Base.BitsPerSample, (16,))[0], 16)
        levels = (levels >> (bits - 8)).astype(np.uint8)
        white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
        return Image.fromarray(~levels if white_is_zero else levels).convert("RGB")
    if image.mode == "F":
        raise UnreadableImageError("has floating-point grey values of unknown range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _fit(image: Image.Image, size: int, box: tuple[slice, slice]) -> NDArray[np.uint8]:
    rows, columns = box
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    shrunk = image.resize(shape, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if shape == (size, size):
        return np.asarray(shrunk)
    square = Image.new("RGB", (size, size), "white")
    square.paste(shrunk, (columns.start, rows.start))
    return np.asarray(square)
