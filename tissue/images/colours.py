"""From the colours of a file to those of the screen: profiles to sRGB, transparency to white.

Cameras, phones and scanners store other primaries and say so in an ICC profile. Read as sRGB, the
same slide would be redder in one file than in the other.
"""

import io
from functools import lru_cache

from PIL import Image, ImageCms

SRGB = ImageCms.createProfile("sRGB")
PROFILED = ("L", "RGB", "CMYK")  # modes of Pillow that a profile can describe
MOST_BYTES = 8_000_000  # of a profile; those of printers take up to 4 MB
Transform = ImageCms.ImageCmsTransform


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
