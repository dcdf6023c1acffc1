"""What opening an image file costs, by a walk over its parts that reads none, and may raise.

A small or sound file can take minutes and gigabytes before its first pixel is known: by EXIF data
of which every number becomes an object, by a million empty parts, by items of an AVIF file, each of
which is looked for among all, or by thousands of scans of a progressive JPEG, each of which goes
over all pixels. The limits are far from what devices write.
"""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

from PIL import Image

# What Pillow raises for damaged files; the rarer ones come from broken headers of TIFF files, and
# RuntimeError from AVIF files.
DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
MOST_EXIF = 1_000_000  # bytes; cameras write up to 64 kB, since a segment of JPEG holds no more
MOST_PARTS = 200_000  # segments of JPEG, and rubbish between them, chunks of PNG and WebP, boxes
MOST_TABLES = 100_000  # bytes that list the items of an AVIF or HEIC file, such as tiles: 45 each
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
    if content[4:8] in (b"ftyp", b"jP  ") and (reason := _check_boxes(content)):
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


TABLES = (b"iinf", b"iloc", b"iref", b"ipma")
# Boxes that hold others, and the bytes in front of these
HOLDING = {b"moov": 0, b"trak": 0, b"meta": 4, b"iprp": 0, b"iinf": 6, b"jp2h": 0, b"res ": 0}
PARTS: dict[bytes, Callable[[bytes], Iterator[Part]]] = {
    b"\xff\xd8": _jpeg_segments,
    b"\x89PNG\r\n\x1a\n": _png_chunks,
    b"RIFF": _webp_chunks,
}


def _check_boxes(content: bytes) -> str:
    """Check an AVIF, HEIC or JPEG 2000 file; `iinf` and `iloc` tell what of the former is EXIF."""
    tables, metadata, sizes = 0, set[int](), Counter[int]()
    for number, (kind, start, end) in enumerate(_boxes(content)):
        if number >= MOST_PARTS:
            return f"has more than {MOST_PARTS:,} parts; save it anew"
        tables += (end - start) * (kind in TABLES)
        if tables > MOST_TABLES:
            return f"has {tables:,} bytes of tables or more, over {MOST_TABLES:,}; save it anew"
        if kind == b"infe":  # version, number, protection and kind of an item
            name = start + (6 if content[start : start + 1] == b"\2" else 8)
            if content.startswith(b"Exif", name + 2):
                metadata.add(int.from_bytes(content[start + 4 : name]))
        if kind == b"iloc":
            sizes.update(_item_sizes(content[start:end]))
    return describe_exif(sum(sizes[item] for item in metadata))


def _boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box; those in a box follow it."""
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        start = at + 8
        if size == 1:  # it is after the kind
            start, size = at + 16, int.from_bytes(content[start : at + 16])
        end = min(at + size, len(content)) if size else len(content)
        if end < start:
            return
        yield kind, start, end
        at = end
        if kind in HOLDING and start < end:
            # In front of those in a list of items, it has their number in 2 or 4 bytes.
            at = start + HOLDING[kind] + 2 * (kind == b"iinf" and content[start] > 0)


def _item_sizes(table: bytes) -> Counter[int]:
    """Return the bytes of each item, by its number, from the content of a box `iloc`."""
    file = io.BytesIO(table)

    def read(size: int) -> int:
        return int.from_bytes(file.read(size))

    version, widths = read(4) >> 24, read(2)
    offset, length, base, index = (widths >> shift & 15 for shift in (12, 8, 4, 0))
    step = length + offset + (index if version else 0)
    sizes = Counter[int]()
    for _ in range(min(read(2 if version < 2 else 4), len(table))):
        item = read(2 if version < 2 else 4)
        read((2 if version else 0) + 2 + base)
        extents = file.read(read(2) * step)
        ends = range(step, len(extents) + 1, step or 1)
        sizes[item] += sum(int.from_bytes(extents[end - length : end]) for end in ends)
    return sizes


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
