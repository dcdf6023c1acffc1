"""A corpus of broken and malicious files and archives, made on the fly.

`ARCHIVES` and `IMAGES` give, by name, how to make a case and the pattern that its error message,
the reason of its rejection or the printed line has to match. `python -m tests.hostile <folder>`
makes all archives, fetches each in a process whose memory is measured, and prints the outcomes.
"""

import contextlib
import gzip
import io
import json
import os
import re
import stat
import struct
import sys
import tarfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from tests import source_examples
from tests.source_examples import PARAMS, as_folder, run_fetch
from tissue.common.errors import InputError

Image.MAX_IMAGE_PIXELS = None


def memory(what: str) -> int:
    """Bytes of memory of this process: VmRSS now, VmHWM at most, without that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def picture(seed: int = 0, kind: str = "JPEG", **options: Any) -> bytes:
    return source_examples.picture(seed, kind, 48, **options)


def good() -> dict[str, bytes]:
    """The images that every archive of the corpus also holds."""
    return {"liver/0.jpg": picture(1), "skin/0.jpg": picture(2)}


class Case(NamedTuple):
    """How to make a source in a folder, and its error, or what is printed on success."""

    make: Callable[[Path], Path]
    error: str = ""
    left_out: str = ""


def zipped(
    *entries: tuple[str | zipfile.ZipInfo, bytes],
    compression: int = zipfile.ZIP_DEFLATED,
    change: Callable[[bytes], bytes] = lambda content: content,
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "hostile.zip"
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
            warnings.simplefilter("ignore")  # of duplicate names
            for name, content in [*good().items(), *entries]:
                archive.writestr(name, content)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def tarred(
    *entries: tuple[tarfile.TarInfo, bytes],
    name: str = "hostile.tar",
    change: Callable[[bytes], bytes] = lambda content: content,
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for each, content in good().items():
                archive.addfile(member(each, size=len(content)), io.BytesIO(content))
            for info, content in entries:
                archive.addfile(info, io.BytesIO(content))
        content = buffer.getvalue()
        path = folder / name
        path.write_bytes(change(gzip.compress(content) if name.endswith("gz") else content))
        return path

    return make


def member(name: str, **values: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def info(name: str, mode: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


def with_field(kind: str, offset: int, value: int) -> Callable[[bytes], bytes]:
    """Overwrite a field of the last member, at `offset` of its header and 2 on in the directory."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        struct.pack_into(kind, changed, content.rindex(b"PK\3\4") + offset, value)
        struct.pack_into(kind, changed, content.rindex(b"PK\1\2") + offset + 2, value)
        return bytes(changed)

    return change


with_flags = partial(with_field, "<H", 6)  # 1: encrypted
with_method = partial(with_field, "<H", 8)
with_size = partial(with_field, "<I", 22)


def overlapping(folder: Path) -> Path:
    """A directory of 2,000 members that are all the same bytes of the file."""
    path = zipped(("liver/zeros.bmp", bytes(9_000_000)))(folder)
    content = path.read_bytes()
    start = content.rindex(b"PK\1\2")
    entry = content[start : start + 46 + len("liver/zeros.bmp")]
    directory = b"".join(entry[:46] + f"liver/{number:05d}.bmp".encode() for number in range(2_000))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2_000, 2_000, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + end)
    return path


def sparse(folder: Path, *, real: int = 1 << 40, count: int = 1) -> Path:
    """GNU sparse members: 512 bytes each that say they are a terabyte."""
    header = bytearray(member("liver/huge.jpg", type=tarfile.GNUTYPE_SPARSE).tobuf())
    header[124:136] = b"00000000000\0"
    header[483:495] = b"\x80" + real.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path = tarred()(folder)
    content = path.read_bytes().rstrip(b"\0")
    content += bytes(-len(content) % 512) + count * bytes(header) + bytes(1024)
    path.write_bytes(content)
    return path


def header_bomb(content: bytes) -> bytes:
    """Put a header before all that says that a name of 8 GB follows."""
    long = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=8_000_000_000)
    return long.tobuf() + content


def large_directory(folder: Path) -> Path:
    """A zip that says 64 kB of each of its thousand members."""
    path = folder / "hostile.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1_000):
            each = zipfile.ZipInfo(f"liver/{number}.jpg")
            each.comment = bytes(65_000)
            archive.writestr(each, b"")
    return path


def with_records(kind: bytes, count: int) -> Callable[[bytes], bytes]:
    """Put a header of records, such as `8 k1=v`, before all members or before the first."""

    def change(content: bytes) -> bytes:
        records = b"".join(b"12 k%05d=v\n" % number for number in range(count))
        header = member("records", type=kind, size=len(records)).tobuf(tarfile.USTAR_FORMAT)
        return header + records + bytes(-len(records) % tarfile.BLOCKSIZE) + content

    return change


def directory(build: Callable[[Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = as_folder(good(), folder / "images")
        build(path)
        return path

    return make


def grown(path: Path) -> None:
    with (path / "liver/huge.jpg").open("wb") as file:
        file.truncate(PARAMS.fetch.limits.member_bytes + 1)


JPEG = picture(7)
OTHER = picture(8)
ZEROS = bytes(60_000_000)
LINK = stat.S_IFLNK | 0o777
COMPOSED, DECOMPOSED = "liver/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg", "liver/cafe\u0301.jpg"
OUT = "leads out of it"
ARCHIVES: dict[str, Case] = {
    "climbing": Case(zipped(("../../liver/x.jpg", JPEG)), rf"'\.\./\.\./liver/x\.jpg'.*{OUT}"),
    "climbing inside": Case(zipped(("a/../../liver/x.jpg", JPEG)), OUT),
    "climbing backslashes": Case(zipped(("..\\..\\liver\\x.jpg", JPEG)), OUT),
    "climbing other file": Case(zipped(("../../.bashrc", b"x")), rf"\.bashrc.*{OUT}"),
    "climbing folder": Case(zipped(("../outside/", b"")), OUT),
    "absolute": Case(zipped(("/tmp/liver/x.jpg", JPEG)), rf"'/tmp/liver/x\.jpg'.*{OUT}"),
    "network share": Case(zipped(("\\\\host\\share\\x.jpg", JPEG)), OUT),
    "drive letter": Case(zipped(("C:\\liver\\x.jpg", JPEG)), rf"'C:/liver/x\.jpg'.*{OUT}"),
    "climbing tar": Case(tarred((member("../liver/x.jpg"), b"")), rf"\.\./liver.*{OUT}"),
    "absolute tar": Case(tarred((member("/etc/liver/x.jpg"), b"")), OUT),
    "symbolic link zip": Case(
        zipped((info("liver/x.jpg", LINK), b"/etc/passwd")), left_out=r"1 x link .*liver/x\.jpg"
    ),
    "symbolic link tar": Case(
        tarred((member("liver/x.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")),
        left_out=r"1 x link .*liver/x\.jpg",
    ),
    "hard link tar": Case(
        tarred((member("liver/x.jpg", type=tarfile.LNKTYPE, linkname="liver/0.jpg"), b"")),
        left_out=r"1 x link .*liver/x\.jpg",
    ),
    "device tar": Case(
        tarred((member("liver/x.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5), b"")),
        left_out=r"1 x device .*liver/x\.jpg",
    ),
    "pipe tar": Case(
        tarred((member("liver/x.jpg", type=tarfile.FIFOTYPE), b"")), left_out="1 x device"
    ),
    "pipe zip": Case(
        zipped((info("liver/x.jpg", stat.S_IFIFO | 0o644), b"")), left_out="1 x device"
    ),
    "duplicate": Case(
        zipped(("liver/x.jpg", JPEG), ("liver/x.jpg", OTHER)), r"one image per name.*liver/x\.jpg"
    ),
    "duplicate tar": Case(
        tarred((member("liver/x.jpg", size=len(JPEG)), JPEG), (member("liver/x.jpg"), b"")),
        r"one image per name.*liver/x\.jpg",
    ),
    "same twice": Case(zipped(("liver/x.jpg", JPEG), ("liver/x.jpg", JPEG))),
    "case": Case(zipped(("liver/x.jpg", JPEG), ("liver/X.JPG", OTHER)), r"liver/X\.JPG|x\.jpg"),
    "class case": Case(zipped(("Liver/x.jpg", JPEG)), "one spelling of each class.*Liver.*liver"),
    "composed and not": Case(zipped((COMPOSED, JPEG), (DECOMPOSED, OTHER)), "one image per name"),
    "encrypted": Case(
        zipped(("liver/x.jpg", JPEG), change=with_flags(1)), r"liver/x\.jpg.*encrypted"
    ),
    "unknown method": Case(
        zipped(("liver/x.jpg", JPEG), change=with_method(99)), r"liver/x\.jpg.*another method"
    ),
    "nested": Case(
        zipped(("more.zip", b"PK"), ("a/more.tar.gz", b"x")),
        left_out=r"2 x archive inside \(e\.g\. 'a/more",
    ),
    "macos": Case(
        zipped(("__MACOSX/liver/._x.jpg", b"x"), ("liver/.DS_Store", b"x")),
        left_out="2 x hidden file",
    ),
    "other files": Case(zipped(("liver/x.exe", b"MZ")), left_out=r"1 x other file .*liver/x\.exe"),
    "other script": Case(zipped(("肝臓/図.jpg", JPEG), ("כבד/א.jpg", OTHER))),
    "control character": Case(zipped(("liver/a\nb.jpg", JPEG)), r"control characters.*a\\nb"),
    "long name": Case(zipped((f"liver/{'x' * 5000}.jpg", JPEG)), "at most 1000 characters"),
    "not utf-8 tar": Case(tarred((member("liver/\udcff\udcfe.jpg"), b"")), "in UTF-8"),
    "ratio": Case(zipped(("liver/x.bmp", ZEROS)), r"200 times.*liver/x\.bmp"),
    "many small ratios": Case(
        zipped(*((f"liver/{number}.bmp", ZEROS[:9_000_000]) for number in range(20))),
        "200 times.*all up to",
    ),
    "overlapping": Case(overlapping, "200 times|differ"),
    "says it is small": Case(
        zipped(("liver/x.bmp", ZEROS), change=with_size(1000)), r"liver/x\.bmp.*Bad CRC"
    ),
    "packed by bzip2": Case(
        zipped(("liver/x.bmp", ZEROS), compression=zipfile.ZIP_BZIP2), "another method than deflate"
    ),
    "says it is larger": Case(
        zipped(("liver/x.jpg", JPEG), change=with_size(len(JPEG) + 1)), r"liver/x\.jpg.*instead of"
    ),
    "too large": Case(
        zipped(("liver/x.jpg", JPEG), change=with_size(600_000_000)), r"at most.*liver/x\.jpg"
    ),
    "ratio tar.gz": Case(
        tarred((member("liver/x.bmp", size=len(ZEROS)), ZEROS), name="hostile.tgz"), "200 times"
    ),
    "sparse tar": Case(sparse, r"at most .*liver/huge\.jpg with 1099511627776"),
    "many sparse tar": Case(
        lambda folder: sparse(folder, real=400_000_000, count=200), "200 times.*all up to"
    ),
    "header bomb tar": Case(tarred(change=header_bomb), r"hostile\.tar.*8000000\d+ bytes"),
    "large directory": Case(large_directory, r"at most 60000000 bytes that.*directory_bytes"),
    "records for all members tar": Case(
        tarred(change=with_records(tarfile.XGLTYPE, 3_000)), "3000 entries for all members"
    ),
    "long records tar": Case(
        tarred(change=with_records(tarfile.XHDTYPE, 90_000)), "at most 1000000 bytes that describe"
    ),
    "few records tar": Case(tarred(change=with_records(tarfile.XGLTYPE, 20))),
    "truncated zip": Case(zipped(change=lambda c: c[: len(c) // 2]), r"hostile\.zip.*not a zip"),
    "truncated tar": Case(tarred(change=lambda c: c[:2000]), r"hostile\.tar: .*"),
    "truncated tar between members": Case(
        tarred(change=lambda c: c.rstrip(b"\0") + bytes(-len(c.rstrip(b"\0")) % 512)), "no end"
    ),
    "truncated tgz": Case(tarred(name="hostile.tgz", change=lambda c: c[:-30]), r"hostile\.tgz"),
    "damaged tar header": Case(
        tarred((member("liver/x.jpg", size=len(JPEG)), JPEG),
               change=lambda c: c.replace(b"liver/x.jpg", b"liver/y.jpg")),
        "damage at byte",
    ),
    "empty zip": Case(zipped(change=lambda c: b""), r"hostile\.zip: expected a readable"),
    "not a zip": Case(zipped(change=lambda c: b"<html>Sign in</html>"), "not a zip file"),
    "text as tgz": Case(tarred(name="hostile.tgz", change=lambda c: b"<html>"), "gzip"),
    "broken link in folder": Case(
        directory(lambda path: (path / "liver/x.jpg").symlink_to("nowhere")), left_out="1 x link"
    ),
    "link to itself in folder": Case(
        directory(lambda path: (path / "again").symlink_to(path)), left_out="1 x link .*again"
    ),
    "pipe in folder": Case(
        directory(lambda path: os.mkfifo(path / "liver/x.jpg")), left_out="1 x device"
    ),
    "too large in folder": Case(directory(grown), r"at most .*huge\.jpg"),
}  # fmt: skip


def damaged(kind: str, **options: Any) -> bytes:
    content = bytearray(picture(3, kind, **options))
    content[2:30] = bytes(28)
    return bytes(content)


def blank(kind: str, mode: str, width: int, height: int, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


def stated(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is larger."""
    content = bytearray(picture(3, "PNG"))
    struct.pack_into(">2I", content, 16, width, height)
    struct.pack_into(">I", content, 29, zipfile.crc32(bytes(content[12:29])))
    return bytes(content)


def several(kind: str, count: int = 3) -> bytes:
    frames = [Image.new("RGB", (32, 32), (n * 20, 90, 60)) for n in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def with_part(kind: str, part: bytes, count: int = 1) -> bytes:
    """An image file with a segment of JPEG, or a chunk of PNG, near its start, `count` times."""
    content = picture(3, kind)
    at = 2 if kind == "JPEG" else 33
    return content[:at] + part * count + content[at:]


def exif(numbers: int, *, more: bytes = b"") -> bytes:
    """EXIF data whose tag of the resolution has so many numbers."""
    tags = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x011A, 5, numbers, 26, 0)
    return tags + struct.pack("<2I", 300, 1) * numbers + more


def segments(content: bytes) -> bytes:
    """EXIF data as segments of JPEG."""
    parts = (b"Exif\0\0" + content[at : at + 65_000] for at in range(0, len(content), 65_000))
    return b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zipfile.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def many_scans(count: int, side: int = 512) -> bytes:
    """A progressive JPEG: scans of one code, for the end of all blocks, follow the first."""
    tables = b"".join(
        b"\xff\xc4" + struct.pack(">HB", 20, kind) + bytes([1, *bytes(15), symbol])
        for kind, symbol in ((0x00, 0x00), (0x10, 0xC0))
    )
    head = b"\xff\xd8\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64
    head += b"\xff\xc2" + struct.pack(">HBHHB3B", 11, 8, side, side, 1, 1, 0x11, 0) + tables
    scan = b"\xff\xda" + struct.pack(">HB2B", 8, 1, 1, 0)
    first = scan + bytes([0, 0, 0]) + bytes(side * side // 512)
    # The run of the one code is 2 ** 12 blocks, as many as there are.
    return head + first + (scan + bytes([1, 63, 0]) + b"\0\7") * count + b"\xff\xd9"


def many_numbers(numbers: int) -> bytes:
    """A TIFF file whose tag of the resolution has so many."""
    content = picture(3, "TIFF", resolution=300)
    at = content.index(struct.pack("<HHI", 0x011A, 5, 1))
    changed = struct.pack("<HHII", 0x011A, 5, numbers, len(content))
    changed = content[:at] + changed + content[at + 12 :]
    return changed + struct.pack("<2I", 300, 1) * numbers


def turned_avif(numbers: int) -> bytes:
    """An AVIF file that is turned, so that Pillow reads all its EXIF data and writes it anew."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    tags[ExifTags.Base.MakerNote] = struct.pack("<2I", 300, 1) * numbers
    content = picture(3, "AVIF", exif=tags)
    head = partial(struct.pack, ">2HI", ExifTags.Base.MakerNote)
    assert head(1, 8 * numbers) in content
    return content.replace(head(1, 8 * numbers), head(5, numbers))  # not bytes but fractions


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def many_items(kind: bytes, count: int) -> bytes:
    """The start of an AVIF file that lists so many items, or tells where they are."""
    name = b"\0\0av01\0"
    tables = {
        b"iinf": struct.pack(">2I", 1 << 24, count)
        + b"".join(
            box(b"infe", struct.pack(">2I", 3 << 24, item) + name) for item in range(1, count + 1)
        ),
        b"iloc": struct.pack(">I2BI", 2 << 24, 0x44, 0, count)
        + b"".join(struct.pack(">I3H", item, 0, 0, 0) for item in range(1, count + 1)),
    }
    start = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    handler = box(b"hdlr", bytes(8) + b"pict" + bytes(13))
    return start + box(b"meta", bytes(4) + handler + box(kind, tables[kind]))


def with_boxes(kind: str, count: int) -> bytes:
    """A picture with so many empty boxes after the one that names its kind."""
    content = picture(3, kind)
    start = content.index(b"ftyp") - 4
    end = start + int.from_bytes(content[start : start + 4])
    return content[:end] + box(b"free", b"") * count + content[end:]


NO_IMAGE = "not a JPEG, PNG, TIFF, BMP, WebP, JPEG 2000 or AVIF"
# Name in the source, how to make it, and the reason of its rejection; empty if it is readable.
IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero bytes.jpg": (lambda: b"", NO_IMAGE),
    "one byte.jpg": (lambda: b"\xff", NO_IMAGE),
    "truncated.jpg": (lambda: picture(1)[:-200], "truncated|Truncated"),
    "truncated.png": (lambda: picture(1, "PNG")[:-400], "."),
    "truncated.webp": (lambda: picture(1, "WEBP")[:-40], "."),
    "truncated.tif": (lambda: picture(1, "TIFF")[:-400], "."),
    "truncated.bmp": (lambda: picture(1, "BMP")[:-400], "truncated"),
    "truncated.avif": (lambda: picture(1, "AVIF")[:-40], "."),
    "zeros.avif": (lambda: picture(1, "AVIF").partition(b"mdat")[0] + b"mdat" + bytes(400), "."),
    "header.jpg": (lambda: damaged("JPEG"), "."),
    "header.png": (lambda: damaged("PNG"), NO_IMAGE),
    "header.tif": (lambda: damaged("TIFF"), "."),
    "header.bmp": (lambda: damaged("BMP"), "."),
    "text.jpg": (lambda: b"no image at all" * 50, NO_IMAGE),
    "page.png": (lambda: b"<!DOCTYPE html><title>Sign in</title>", NO_IMAGE),
    "vector.png": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", NO_IMAGE),
    "program.jpg": (lambda: b"\x7fELF" + bytes(200), NO_IMAGE),
    "archive.jpg": (lambda: b"PK\5\6" + bytes(18), NO_IMAGE),
    "animated gif.png": (lambda: several("GIF"), NO_IMAGE),
    "animated.png": (lambda: several("PNG"), "3 pictures"),
    "animated.webp": (lambda: several("WEBP"), "3 pictures"),
    "pages.tif": (lambda: several("TIFF", 200), "several pictures"),
    "postscript.tif": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_IMAGE),
    "1x1.png": (lambda: blank("PNG", "RGB", 1, 1), "1 x 1 pixels are less"),
    "flat.png": (lambda: blank("PNG", "RGB", 400, 1), "400 x 1 pixels are less"),
    "wide.png": (lambda: blank("PNG", "RGB", 50_000, 20), "50000 x 20 pixels are longer"),
    "wide.jpg": (lambda: blank("JPEG", "L", 50_000, 2000), "50000 x 2000 pixels are longer"),
    "tall.png": (lambda: blank("PNG", "1", 20, 50_000), "20 x 50000 pixels are longer"),
    "bomb.png": (lambda: blank("PNG", "1", 12_000, 12_000), "12000 x 12000 .*max_pixels"),
    "bomb.tif": (
        lambda: blank("TIFF", "1", 12_000, 12_000, compression="group4"),
        "12000 x 12000 .*max_pixels",
    ),
    "stated bomb.png": (lambda: stated(2**31 - 1, 2**31 - 1), "max_pixels|not a JPEG"),
    "stated larger.png": (lambda: stated(4000, 4000), "."),
    "floating.tif": (lambda: blank("TIFF", "F", 32, 32), "floating-point"),
    "exif.jpg": (lambda: with_part("JPEG", segments(exif(150_000))), "1,0[0-9,]* bytes of EXIF"),
    "exif.png": (
        lambda: with_part("PNG", chunk(b"eXIf", exif(150_000))),
        "1,200,026 bytes of EXIF",
    ),
    "exif.webp": (lambda: picture(3, "WEBP", exif=exif(1, more=bytes(1_200_000))), "of EXIF"),
    "exif.avif": (lambda: turned_avif(150_000), "1,200,0[0-9]* bytes of EXIF"),
    "small exif.avif": (lambda: turned_avif(5_000), ""),
    "items.avif": (lambda: many_items(b"iinf", 20_000), "bytes of tables or more, over 100,000"),
    "places.avif": (lambda: many_items(b"iloc", 20_000), "bytes of tables or more, over 100,000"),
    "boxes.avif": (lambda: with_boxes("AVIF", 250_000), "more than 200,000 parts"),
    "boxes.jp2": (lambda: with_boxes("JPEG2000", 250_000), "more than 200,000 parts"),
    "few boxes.jp2": (lambda: with_boxes("JPEG2000", 20), ""),
    "small exif.jpg": (lambda: with_part("JPEG", segments(exif(5_000))), ""),
    "numbers.tif": (lambda: many_numbers(500_000), "500,0[0-9]* numbers in its tags"),
    "parts.jpg": (lambda: with_part("JPEG", b"\xff\xe3\0\2", 250_000), "more than 200,000 parts"),
    "parts.png": (lambda: with_part("PNG", chunk(b"teSt", b""), 250_000), "200,000 parts"),
    "rubbish.jpg": (lambda: with_part("JPEG", bytes(250_000)), "more than 200,000 parts"),
    "scans.jpg": (lambda: many_scans(1_000), "1,001 scans"),
    "few scans.jpg": (lambda: many_scans(20), ""),
    "progressive.jpg": (lambda: picture(3, progressive=True), ""),
    "large alpha.png": (lambda: blank("PNG", "RGBA", 4000, 4000), ""),
    "really png.jpg": (lambda: picture(21, "PNG"), ""),
    "really jpeg.tif": (lambda: picture(22), ""),
    "cmyk.jpg": (lambda: blank("JPEG", "CMYK", 40, 40), ""),
    "図 é.jpg": (lambda: picture(23), ""),
}


@cache
def image_file(name: str) -> bytes:
    """The content of one of IMAGES."""
    return IMAGES[name][0]()


def attempt(case: Case, folder: Path) -> dict[str, Any]:
    """Fetch one source of the corpus; return the outcome, and how long it took."""
    folder.mkdir(parents=True)
    source = case.make(folder)
    data = folder / "data"
    before = {*folder.parent.rglob("*"), data, data / "raw"}
    printed, outcome = io.StringIO(), {"error": "", "traceback": ""}
    start = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        try:
            run_fetch(source, folder)
        except InputError as error:
            outcome["error"] = str(error)
        except Exception:  # noqa: BLE001 what it may not do
            outcome["traceback"] = traceback.format_exc()
    written = {path for path in folder.parent.rglob("*") if data / "raw" not in path.parents}
    return {
        **outcome,
        "seconds": time.perf_counter() - start,
        "printed": printed.getvalue(),
        "written": sorted(map(str, written - before)),
        "output": (data / "raw").exists(),
    }


if __name__ == "__main__":
    cases = {name: attempt(case, Path(sys.argv[1]) / name) for name, case in ARCHIVES.items()}
    print(json.dumps({"cases": cases, "memory": memory("VmHWM")}))
