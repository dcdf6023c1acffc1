"""From the levels and colours of a file to those of the screen: 8 bits, sRGB, white behind.

Cameras, phones and scanners store other primaries and say so in an ICC profile. Read as sRGB, the
same slide would be redder in one file than in the other. Levels of 12 bits in files of 16,
floating-point values and masks would be too dark.
"""

import io
import re
from functools import lru_cache
from typing import Any, cast

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from tissue.images.kinds import UnreadableImageError

SRGB = ImageCms.createProfile("sRGB")
PROFILED = ("L", "RGB", "CMYK")  # modes of Pillow that a profile can describe
MOST_BYTES = 8_000_000  # of a profile; those of printers take up to 4 MB
Transform = ImageCms.ImageCmsTransform
MAX_SAMPLE_VALUE = 281  # tag of a TIFF file; some cameras write the largest level they can give
# The same in the description of a TIFF file: of OME, and of ImageJ if it is all ones in binary
SIGNIFICANT_BITS = re.compile(r'SignificantBits="(\d+)"')
IMAGEJ_MAX = re.compile(r"^max=(\d+)(?:\.0)?$", re.MULTILINE)
FLOAT_RANGES = (1, 255, 0xFFFF)  # what white may be in floating-point files
SIGNED = 2  # of SampleFormat


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a grey, RGB or CMYK image as RGB in sRGB.

    A profile that cannot be read is a damaged description of the picture, not a damaged picture:
    the image is then taken to be in sRGB, as without a profile.
    """
    if profile and image.mode in PROFILED:
        transform = _transform(profile, image.mode)
        if transform is not None:
            return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Transform | None:
    """Return the way from a profile to sRGB, None where there is nothing to do."""
    if len(profile) > MOST_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip().casefold()
        if name.startswith("srgb") and "linear" not in name:
            return None
        return ImageCms.buildTransform(source, SRGB, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def flatten(image: Image.Image) -> Image.Image:
    """Return an image with transparency as RGB on white.

    Some microscopes write a fourth channel that means nothing: where all of it is zero, it is left
    out, since the picture would be blank. Where it is 0 or 1, 1 is opaque.
    """
    image, profile = image.convert("RGBA"), image.info.get("icc_profile")
    alpha = image.getchannel("A")
    _, most = alpha.getextrema()
    rgb = to_srgb(image.convert("RGB"), profile)
    if most == 0:
        return rgb
    rgb.putalpha(alpha.point(lambda level: 255 * level) if most == 1 else alpha)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgb).convert("RGB")


def check_levels(image: Image.Image) -> None:
    """Refuse 8-bit images of 0 and 1, or up to 3: labels of pixels, or another scale."""
    extrema = cast("list[tuple[int, int]]", np.reshape(image.getextrema(), (-1, 2)).tolist())
    most = max(high for _, high in extrema)
    if 0 < most < 4:
        raise UnreadableImageError(
            f"is nearly black: no level is above {most} of 255, as in a mask or on another scale; "
            "take it out, or save it with levels up to 255"
        )


def float_to_rgb(image: Image.Image) -> Image.Image:
    """Return a floating-point grey image as RGB; white is 1, 255 or 65535."""
    levels = np.asarray(image)
    most = float(levels.max()) if np.isfinite(levels).all() and levels.min() >= 0 else np.inf
    white = next((one for one in FLOAT_RANGES if most <= one), 0)
    if not white or most <= white / 4:  # as in check_depth
        raise UnreadableImageError(
            f"has floating-point grey values of unknown range, up to {most:.3g}; expected 0 to 1, "
            "255 or 65535. Save it with 8 or 16 bits"
        )
    return Image.fromarray((levels * (255 / white)).round().astype(np.uint8)).convert("RGB")


def deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Return a grey image of 12 or 16 bits as RGB, stretched to what its file says white is."""
    # 16-bit grey comes as I;16 or, from some files, as 32-bit I with 16-bit values.
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise UnreadableImageError("has grey values outside 16 bits")
    tags = getattr(image, "tag_v2", {})  # of a TIFF file; Pillow only applies them to 8 bits
    (stored,) = tags.get(ExifTags.Base.BitsPerSample, (16,))[:1]
    signed = stored == 16 and tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == SIGNED
    bits = 15 if signed else min(stored, 16)
    # A camera of 12 bits stores its levels as they are in files of 16.
    largest = _stated_largest(tags)
    if largest >= max(levels.max(), 0xFF):
        bits = min(largest.bit_length(), bits)
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    if not white_is_zero:
        check_depth(int(levels.max()), bits)
    levels = (levels >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(~levels if white_is_zero else levels).convert("RGB")


def _stated_largest(tags: TiffImagePlugin.ImageFileDirectory_v2 | dict[int, Any]) -> int:
    """Return the largest level that a TIFF file says its camera gives, 0 if it does not."""
    (largest,) = tags.get(MAX_SAMPLE_VALUE, (0,))[:1]
    text = str(tags.get(ExifTags.Base.ImageDescription, ""))
    if found := SIGNIFICANT_BITS.search(text):
        return (1 << min(int(found[1]), 32)) - 1
    shown = IMAGEJ_MAX.search(text)
    # Elsewhere it is the range that the user chose to see.
    if shown and text.startswith("ImageJ=") and (int(shown[1]) & int(shown[1]) + 1) == 0:
        return int(shown[1])
    return int(largest)


def check_depth(brightest: int, bits: int) -> None:
    """Refuse an image whose levels have fewer bits than its file, if nothing says how many."""
    # Clear glass is bright. Where no pixel reaches a quarter of the range, the camera had fewer
    # bits than the file, and all its pictures would be nearly black.
    if brightest < 1 << (bits - 2):
        raise UnreadableImageError(
            f"is nearly black: no level is above {brightest} of {(1 << bits) - 1}, as of a camera "
            f"with {max(brightest.bit_length(), 8)} bits in a file with {bits}; save it with 8 "
            "bits, or grey as TIFF with the tag MaxSampleValue (281)"
        )
