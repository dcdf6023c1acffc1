"""What a file is that cannot be decoded, and what to do about it, by its first bytes."""

import io
import struct
from typing import Any

from PIL import ExifTags, TiffImagePlugin

from tissue.common.file_costs import TIFF_STARTS

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
STARTS = {
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"8BPS": "a Photoshop document",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"II\xbc": "a JPEG XR picture",
    b"v/1\x01": "an OpenEXR picture",
    b"SIMPLE  =": "a FITS picture",
    b"P5": "a PNM picture",
    b"P6": "a PNM picture",
    b"PK": "a zip archive",
    b"<svg": "an SVG drawing",
    b"<!doctype html": "a web page, perhaps of a login",
    b"<html": "a web page, perhaps of a login",
    b"version https://git-lfs": "a pointer of Git LFS; run `git lfs pull` in its repository",
}
COMPRESSIONS = {
    33003: "JPEG 2000 of Aperio", 33005: "JPEG 2000 of Aperio", 34712: "JPEG 2000",
    34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP",
    50002: "JPEG XL", 22610: "JPEG XR", 34934: "JPEG XR",
}  # fmt: skip


class UnreadableImageError(Exception):
    """An image file that cannot be used; the message says why."""


def check_cost(reason: str) -> None:
    """Raise an `UnreadableImageError` if there is a reason, found by `tissue.common.file_costs`."""
    if reason:
        raise UnreadableImageError(reason)


def describe_kind(content: bytes) -> str:
    """Return what a file is that no decoder knows, in words; empty if that is not known."""
    if not content:
        return "an empty file"
    start = content[:64].lstrip().lower()
    for magic, kind in STARTS.items():
        if content.startswith(magic) or start.startswith(magic):
            return kind
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS:
        return "a HEIC picture; to read those, run pip install -r requirements/heic.txt"
    if content[128:132] == b"DICM":
        return "a DICOM file"
    return describe_tiff(content)


def describe_tiff(content: bytes) -> str:
    """Return channels, bits and compression of a TIFF file in words; empty for other files."""
    tags = _tiff_tags(content) if content.startswith(TIFF_STARTS) else {}
    if not tags:
        return ""
    bits = tags.get(ExifTags.Base.BitsPerSample) or (1,)
    channels = tags.get(ExifTags.Base.SamplesPerPixel, 1)
    number = tags.get(ExifTags.Base.Compression, 1)
    packing = TiffImagePlugin.COMPRESSION_INFO.get(number) or COMPRESSIONS.get(number, "unknown")
    format_ = (tags.get(TiffImagePlugin.SAMPLEFORMAT) or (1,))[0]
    kind = {2: "signed ", 3: "floating-point "}.get(format_, "")
    return (
        f"a TIFF file with {channels} channel{'' if channels == 1 else 's'} of {max(bits)} {kind}"
        f"bits, compression {packing} ({number}); save it as TIFF or PNG in RGB or grey of 8 bits"
    )


def _tiff_tags(content: bytes) -> dict[int, Any]:
    """Return the tags of the first picture of a TIFF file; none if they are damaged."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if b"+" in content[2:4] else 8])
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        return dict(tags)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return {}


def without_texts(png: bytes) -> bytes:
    """Return a PNG file without texts and colour profile, which may be too large to unpack."""
    kept, at = [png[:8]], 8
    while at + 8 <= len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] not in (b"iCCP", b"tEXt", b"zTXt", b"iTXt"):
            kept.append(png[at : at + 12 + size])
        at += 12 + size
    return b"".join(kept)
