"""Slides as scanners of several makers write them: the least that OpenSlide takes for theirs.

After the descriptions of these formats by the OpenSlide project.
"""

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawn_slides import (
    JPEG,
    LONG,
    RATIONAL,
    SHORT,
    TEXT,
    TILE,
    YCBCR,
    Tags,
    levels_of,
    write_bytes,
    write_directory,
    write_pyramid,
)

UNDEFINED, SIGNED = 7, 9  # types of values in a TIFF file
MPP = 0.5  # micrometres per pixel of all of them
LEICA = "http://www.leica-microsystems.com/scn/2010/10/01"
WHOLE_SLIDE, UNCOMPRESSED = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.1.2.1"  # of DICOM
LEVELS = (1, 4, 16)
Picture = NDArray[np.uint8]  # RGB (H, W, 3)


def write_scn(path: Path, picture: Picture) -> Path:
    """Leica: XML in the first description has a collection of images, in nanometres."""
    height, width = picture.shape[:2]
    per_pixel, margin = round(1000 * MPP), TILE  # of the collection, left of and above the image
    dimensions = "".join(
        f'<dimension sizeX="{-(-width // by)}" sizeY="{-(-height // by)}" ifd="{number}"/>'
        for number, by in enumerate(LEVELS)
    )
    nm = {"x": width * per_pixel, "y": height * per_pixel, "off": margin * per_pixel}
    xml = (
        f'<?xml version="1.0"?><scn xmlns="{LEICA}"><collection sizeX="{nm["x"] + nm["off"]}" '
        f'sizeY="{nm["y"] + nm["off"]}"><image><device model="drawn"/><pixels sizeX="{width}" '
        f'sizeY="{height}">{dimensions}</pixels><view sizeX="{nm["x"]}" sizeY="{nm["y"]}" '
        f'offsetX="{nm["off"]}" offsetY="{nm["off"]}"/><scanSettings><objectiveSettings>'
        "<objective>20</objective></objectiveSettings><illuminationSettings><illuminationSource>"
        "brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        "</collection></scn>"
    )
    return write_pyramid(
        path, (width, height), levels_of(picture, LEVELS), downsamples=LEVELS, mpp=MPP,
        description=xml,
    )  # fmt: skip


def write_bif(path: Path, picture: Picture) -> Path:
    """Ventana: a label first, whose XMP has the scale; that of the first level joins its tiles."""
    height, width = picture.shape[:2]
    downsamples = (16, 1, 4)
    columns, rows = -(-width // TILE), -(-height // TILE)
    joint = '<TileJointInfo Tile1="1" Tile2="{}" Direction="{}" OverlapX="0" OverlapY="0"'
    joints = "".join(
        f'{joint.format(*pair)} FlagJoined="1" Confidence="100"/>'
        for pair in ((2, "RIGHT"), (2 * columns, "UP"))
    )
    packets = {
        0: f'<iScan Magnification="20" ScanRes="{MPP}" Z-layers="1"/>',
        1: (
            '<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" Pos-X="0" '
            f'Pos-Y="0" NumRows="{rows}" NumCols="{columns}" Width="{TILE}" Height="{TILE}">'
            f'{joints}</ImageInfo></SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/>'
            "</AoiOrigin></EncodeInfo>"
        ),
    }
    descriptions = ("Label_Image", "level=0 mag=20 quality=90", "level=1 mag=5 quality=90")

    def more(number: int) -> Tags:
        tags: Tags = {270: (TEXT, descriptions[number].encode() + b"\0")}
        if number in packets:
            tags[700] = (UNDEFINED, packets[number].encode())
        return tags

    read = levels_of(picture, downsamples)
    return write_pyramid(path, (width, height), read, downsamples=downsamples, mpp=None, more=more)


def write_ndpi(path: Path, picture: Picture) -> Path:
    """Hamamatsu: each level is one JPEG with restart markers; pointers have eight bytes."""
    image = Image.fromarray(picture)
    with path.open("wb") as file:
        file.write(b"II*\0" + bytes(8))
        link = 4
        for by in LEVELS:
            level = image.resize((image.width // by, image.height // by), Image.Resampling.BOX)
            content = io.BytesIO()
            blocks = 50 if level.width % 400 == 0 else 0
            level.save(content, "JPEG", quality=90, subsampling=0, restart_marker_blocks=blocks)
            at, count = write_bytes(file, content.getvalue())
            per_cm = [round(1e4 / MPP / by * 1000), 1000]
            tags: Tags = {
                256: (LONG, [level.width]),
                257: (LONG, [level.height]),
                258: (SHORT, [8, 8, 8]),
                259: (SHORT, [JPEG]),
                262: (SHORT, [YCBCR]),
                271: (TEXT, b"Hamamatsu\0"),
                273: (LONG, [at]),
                277: (SHORT, [3]),
                278: (LONG, [level.height]),
                279: (LONG, [count]),
                282: (RATIONAL, per_cm),
                283: (RATIONAL, per_cm),
                296: (SHORT, [3]),
                65420: (LONG, [1]),
                65424: (SIGNED, [0]),  # the focal plane
                65421: (RATIONAL, [20_000 // by, 1000]),
            }
            link = write_directory(file, tags, link, pointer=8)
    return path


def write_mrxs(path: Path, picture: Picture) -> Path:
    """Mirax: a small file with the name, and a folder with settings, an index and the tiles."""
    height, width = picture.shape[:2]
    columns, rows = width // TILE, height // TILE
    picture = picture[: rows * TILE, : columns * TILE]
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(b"")
    data, pages = io.BytesIO(b"Data"), []
    data.seek(0, io.SEEK_END)
    for level in range(3):
        step = 2**level
        shrunk = Image.fromarray(picture).resize(
            (columns * TILE // step, rows * TILE // step), Image.Resampling.BOX
        )
        entries = []
        # A tile is numbered by the place of its corner among those of the first level.
        for row in range(0, rows, step):
            for column in range(0, columns, step):
                corner = (column * TILE // step, row * TILE // step)
                tile = shrunk.crop((*corner, corner[0] + TILE, corner[1] + TILE))
                content = io.BytesIO()
                tile.save(content, "JPEG", quality=90, subsampling=0)
                at = data.tell()
                data.write(content.getvalue())
                entries.append((row * columns + column, at, data.tell() - at, 0))
        pages.append(entries)
    (folder / "Data0000.dat").write_bytes(data.getvalue())
    (folder / "Index.dat").write_bytes(_mirax_index(pages))
    (folder / "Slidedat.ini").write_text(_mirax_settings(columns, rows, len(pages)))
    return path


def _mirax_index(pages: list[list[tuple[int, int, int, int]]]) -> bytes:
    identity = b"drawn"
    start = 5 + len(identity) + 8  # version, identity and two pointers
    heads = start + 4 * len(pages)
    lists, body = [], b""
    for entries in pages:
        lists.append(heads + len(body))
        here = heads + len(body) + 8
        body += struct.pack("<ii", 0, here)
        body += struct.pack("<ii", len(entries), 0)
        body += b"".join(struct.pack("<iiii", *entry) for entry in entries)
    root = struct.pack("<ii", start, start)
    table = struct.pack(f"<{len(lists)}i", *lists)
    return b"01.02" + identity + root + table + body


def _mirax_settings(columns: int, rows: int, levels: int) -> str:
    sections = [f"LEVEL_{number}" for number in range(levels)]
    lines = [
        "[GENERAL]", "SLIDE_VERSION=01.02", "SLIDE_ID=drawn", f"IMAGENUMBER_X={columns}",
        f"IMAGENUMBER_Y={rows}", "OBJECTIVE_MAGNIFICATION=20", "CameraImageDivisionsPerSide=1",
        "[HIERARCHICAL]", "INDEXFILE=Index.dat", "HIER_COUNT=1", "NONHIER_COUNT=0",
        "HIER_0_NAME=Slide zoom level", f"HIER_0_COUNT={levels}",
        *(f"HIER_0_VAL_{number}_SECTION={name}" for number, name in enumerate(sections)),
        "[DATAFILE]", "FILE_COUNT=1", "FILE_0=Data0000.dat",
    ]  # fmt: skip
    for number, name in enumerate(sections):
        lines += [
            f"[{name}]", "OVERLAP_X=0", "OVERLAP_Y=0",
            f"MICROMETER_PER_PIXEL_X={MPP * 2**number}",
            f"MICROMETER_PER_PIXEL_Y={MPP * 2**number}", "IMAGE_FORMAT=JPEG",
            "IMAGE_FILL_COLOR_BGR=16777215", f"DIGITIZER_WIDTH={TILE}",
            f"DIGITIZER_HEIGHT={TILE}", f"IMAGE_CONCAT_FACTOR={int(number > 0)}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_dicom(path: Path, picture: Picture) -> Path:
    """DICOM: a file for each level, which share the number of their series; pixels as they are."""
    series = f"1.2.826.0.1.{int(picture.sum()) % 10**9}"
    for number, by in enumerate(LEVELS):
        height, width = (-(-side // by) for side in picture.shape[:2])
        read = levels_of(picture, LEVELS)
        corners = [(x, y) for y in range(0, height, TILE) for x in range(0, width, TILE)]
        pixels = b"".join(read(number, *corner).tobytes() for corner in corners)
        origin = ("ORIGINAL", "NONE") if by == 1 else ("DERIVED", "RESAMPLED")
        instance, spacing = f"{series}.{number + 1}", f"{MPP * by / 1000:g}"
        measures = _item(_element(0x0028, 0x0030, "DS", f"{spacing}\\{spacing}"))
        shared = _item(_element(0x0028, 0x9110, "SQ", measures))
        body = b"".join(
            [
                _element(0x0008, 0x0008, "CS", f"{origin[0]}\\PRIMARY\\VOLUME\\{origin[1]}"),
                _element(0x0008, 0x0016, "UI", WHOLE_SLIDE),
                _element(0x0008, 0x0018, "UI", instance),
                _element(0x0020, 0x000E, "UI", series),
                _element(0x0020, 0x9311, "CS", "TILED_FULL"),
                _element(0x0028, 0x0002, "US", 3),
                _element(0x0028, 0x0004, "CS", "RGB"),
                _element(0x0028, 0x0006, "US", 0),
                _element(0x0028, 0x0008, "IS", f"{len(corners)}"),
                _element(0x0028, 0x0010, "US", TILE),
                _element(0x0028, 0x0011, "US", TILE),
                _element(0x0028, 0x0100, "US", 8),
                _element(0x0028, 0x0101, "US", 8),
                _element(0x0028, 0x0102, "US", 7),
                _element(0x0028, 0x0103, "US", 0),
                _element(0x0048, 0x0006, "UL", width),
                _element(0x0048, 0x0007, "UL", height),
                _element(0x5200, 0x9229, "SQ", shared),
                _element(0x7FE0, 0x0010, "OB", pixels),
            ]
        )
        meta = b"".join(
            [
                _element(0x0002, 0x0001, "OB", b"\0\1"),
                _element(0x0002, 0x0002, "UI", WHOLE_SLIDE),
                _element(0x0002, 0x0003, "UI", instance),
                _element(0x0002, 0x0010, "UI", UNCOMPRESSED),
                _element(0x0002, 0x0012, "UI", "1.2.826.0.1.1"),
            ]
        )
        length = _element(0x0002, 0x0000, "UL", len(meta))
        target = path.with_stem(f"{path.stem}_{number}")
        target.write_bytes(bytes(128) + b"DICM" + length + meta + body)
    return path.with_stem(f"{path.stem}_0")


def _element(group: int, number: int, kind: str, value: str | int | bytes) -> bytes:
    if isinstance(value, int):
        value = struct.pack("<H" if kind == "US" else "<I", value)
    elif isinstance(value, str):
        value = value.encode()
        value += (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    long = kind in ("OB", "SQ")
    size = struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind.encode() + size + value


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
