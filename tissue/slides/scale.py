"""The physical scale of a picture, in micrometres per pixel, where its file tells one.

Microscopes state it in the description of a TIFF file (OME, ImageJ, Aperio). Any format may state
pixels per inch, centimetre or metre, but most such numbers are of screens and printers, such as 72,
300 or 2400 dots per inch. None of these is finer than `PRINTED`, so only what is finer counts.
"""

import html
import io
import math
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image

from tissue.common.file_costs import DAMAGED, find_cost

# Micrometres per pixel of light microscopes
MPP_RANGE = (0.05, 20.0)
PRINTED = 2.5  # of the finest printers and scanners: 10,160 dots per inch
INCH, CENTIMETRE = 2, 3  # of ResolutionUnit
PER_UNIT = {INCH: 25_400.0, CENTIMETRE: 10_000.0}  # micrometres
SQUARE = 1.1  # the longer side of a pixel to the shorter
OME_SCALE = re.compile(r"<Pixels\b[^>]*?\bPhysicalSizeX=\"([^\"]+)\"")
OME_UNIT = re.compile(r"<Pixels\b[^>]*?\bPhysicalSizeXUnit=\"([^\"]+)\"")
IMAGEJ_UNIT = re.compile(r"^unit=(\S+)", re.MULTILINE)
APERIO_SCALE = re.compile(r"\|\s*MPP\s*=\s*([\d.]+)")
MICRO = ("µm", "μm", "um", "micron", "microns", r"\u00B5m")
UNITS = {**dict.fromkeys(MICRO, 1.0), "nm": 1e-3, "mm": 1e3, "cm": 1e4}  # micrometres


def read_scale(content: bytes) -> float | None:
    """Return the micrometres per pixel that an image file tells, None if it tells none."""
    if find_cost(content):
        return None
    with warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(io.BytesIO(content)) as image:
                return _described(image) or _resolution(image)
        except DAMAGED:  # `split` will say what is wrong with it
            return None


def ome_scale(text: str) -> float | None:
    """Return the micrometres per pixel of a description in OME-XML, None if it tells none."""
    if not (found := OME_SCALE.search(text)):
        return None
    unit = OME_UNIT.search(text)
    name = html.unescape(unit[1]) if unit else "um"
    return _credible(float(found[1]) * UNITS.get(name, math.nan))


def _described(image: Image.Image) -> float | None:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    text = str(tags.get(ExifTags.Base.ImageDescription, ""))
    with suppress(UnicodeError):  # Pillow takes the bytes for Latin-1
        text = text.encode("latin-1").decode()
    if scale := ome_scale(text):
        return scale
    if found := APERIO_SCALE.search(text):
        return _credible(float(found[1]))
    unit = IMAGEJ_UNIT.search(text) if text.startswith("ImageJ=") else None
    if unit:
        return _credible(_pixel(tags, UNITS.get(unit[1], math.nan)))
    return None


def _resolution(image: Image.Image) -> float | None:
    # Pillow takes an unknown unit in the EXIF data of a JPEG file for inches.
    in_exif = image.format in ("JPEG", "MPO") and not image.info.get("jfif_unit")
    if "dpi" in image.info and not in_exif:  # also of PNG, BMP, JPEG 2000, and TIFF with a unit
        found = _mean(*(PER_UNIT[INCH] / float(dots) for dots in image.info["dpi"]))
    elif image.format in ("PNG", "TIFF"):
        return None  # to find the EXIF data of a PNG file, Pillow reads it all
    else:
        tags = image.getexif()
        found = _pixel(tags, PER_UNIT.get(tags.get(ExifTags.Base.ResolutionUnit, 0), math.nan))
    return _credible(found, most=PRINTED)


def _pixel(tags: Mapping[int, Any], unit: float) -> float:
    """Return the side of a pixel in micrometres, from numbers of pixels per unit."""
    sides = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    return _mean(*(unit / float(tags[side]) for side in sides))


def _mean(width: float, height: float) -> float:
    return math.sqrt(width * height) if 1 / SQUARE < width / height < SQUARE else math.nan


def _credible(scale: float, most: float = MPP_RANGE[1]) -> float | None:
    return scale if MPP_RANGE[0] <= scale <= most else None
