"""What opening an image file costs, by a walk over its parts that reads none, and may raise.

A small or sound file can take minutes and gigabytes before its first pixel is known: by EXIF data
of which every number becomes an object, by a million empty parts, or by thousands of scans of a
progressive JPEG, each of which goes over all pixels. The limits are far from what devices write.
"""

import struct
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

# What Pillow raises for damaged files; the rarer ones come from broken headers of TIFF files.
DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
MOST_EXIF = 1_000_000  # bytes; cameras write up to 64 kB, since a segment of JPEG holds no more
MOST_PARTS = 200_000  # segments of JPEG, chunks of PNG and WebP, bytes of rubbish between them
MOST_SCANS = 64  # of a JPEG file; libjpeg makes 10, optimisers up to 20
MOST_NUMBERS = 400_000  # in the tags of a TIFF file, such as the places of its tiles
START_OF_SCAN = b"\xff\xda"  # no compressed data hold it
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # in both orders of bytes; + is BigTIFF
TEXT_TYPES = (1, 2, 6, 7)  # of tags that are kept as bytes
DIRECTORIES = 2  # of a TIFF file that are read, to see whether there is a second picture
Part = tuple[bool, int]  # whether it is EXIF data, and its bytes


def find_cost(content: bytes) -> str:
    """Return why an image file costs too much to be opened, empty if it does not."""
    for start, read_parts in PARTS.items():
        if content.startswith(start) and (reason := _check_parts(read_parts(content))):
            return reason
    scans = content.count(START_OF_SCAN) if content.startswith(b"\xff\xd8") else 0
    if scans > MOST_SCANS:
        return f"has {scans:,} scans, more than {MOST_SCANS}; save it as a baseline JPEG"
    numbers = _count_numbers(content)
    if numbers > MOST_NUMBERS:
        return f"has {numbers:,} numbers in its tags, more than {MOST_NUMBERS:,}; save it anew"
    return ""


def describe_exif(size: int) -> str:
    """Return why so many bytes of EXIF data cost too much, empty if they do not."""
    if size <= MOST_EXIF:
        return ""
    return f"has {size:,} bytes of EXIF data or more, over {MOST_EXIF:,}; save it without"


def _check_parts(parts: Iterator[Part]) -> str:
    exif = 0
    for number, (is_exif, size) in enumerate(parts):
        if number >= MOST_PARTS:
            return f"has more than {MOST_PARTS:,} parts; save it anew"
        exif += size * is_exif
        if reason := describe_exif(exif):
            return reason
    return ""


def _jpeg_segments(content: bytes) -> Iterator[Part]:
    """Yield what is before the first scan; each byte between segments counts as one."""
    at = 2
    while at + 4 <= len(content) and not content.startswith(START_OF_SCAN, at):
        marker = content[at + 1]
        if content[at] != 0xFF or marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            yield False, 0
            at += 1
            continue
        size = int.from_bytes(content[at + 2 : at + 4])
        yield marker == 0xE1 and content.startswith(b"Exif\0", at + 4), size
        at += 2 + max(2, size)


def _png_chunks(content: bytes) -> Iterator[Part]:
    at = 8
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        yield kind == b"eXIf", size
        at += 12 + size


def _webp_chunks(content: bytes) -> Iterator[Part]:
    at = 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        yield kind == b"EXIF", size
        at += 8 + size + size % 2


PARTS: dict[bytes, Callable[[bytes], Iterator[Part]]] = {
    b"\xff\xd8": _jpeg_segments,
    b"\x89PNG\r\n\x1a\n": _png_chunks,
    b"RIFF": _webp_chunks,
}


def _count_numbers(content: bytes) -> int:
    """Return how many numbers the tags of a TIFF file hold, 0 for other files."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2], "")
    if not order or content[2:4].strip(b"\0") not in (b"*", b"+"):
        return 0
    big = b"+" in content[2:4]
    start, count, entry = ("8xQ", "Q", "HHQ8x") if big else ("4xI", "H", "HHI4x")
    numbers = 0
    try:
        (at,) = struct.unpack_from(order + start, content)
        for _ in range(DIRECTORIES):
            (tags,) = struct.unpack_from(order + count, content, at)
            first = at + struct.calcsize(order + count)
            step = struct.calcsize(order + entry)
            for tag in range(min(tags, MOST_NUMBERS)):
                _, kind, length = struct.unpack_from(order + entry, content, first + tag * step)
                numbers += length if kind not in TEXT_TYPES else 0
            (at,) = struct.unpack_from(order + ("Q" if big else "I"), content, first + tags * step)
            if not at:
                break
    except struct.error:  # the file ends there; what there is counts
        return numbers
    return numbers
