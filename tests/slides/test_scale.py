"""The physical scale that image files tell, and the resolutions of screens that are none."""

import io
from typing import Any

import pytest
from PIL import Image, TiffImagePlugin

from tests.source_examples import PARAMS, as_folder, manifest_of, picture
from tissue.slides.scale import read_scale

EXIF = 282, 283, 296  # XResolution, YResolution, ResolutionUnit
CENTIMETRE = 3
OME = '<OME><Image><Pixels SizeX="9" PhysicalSizeX="{}" PhysicalSizeXUnit="{}"/></Image></OME>'


def saved(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 20), "pink").save(buffer, kind, **options)
    return buffer.getvalue()


def exif(width: float, height: float, unit: int) -> Image.Exif:
    made = Image.Exif()
    for tag, value in zip(EXIF, (width, height, unit), strict=True):
        made[tag] = value
    return made


def tiff(description: str = "", resolution: float = 0, unit: int = 1) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if description:
        tags[270] = description.encode()
    if resolution:
        tags[282] = tags[283] = TiffImagePlugin.IFDRational(round(resolution * 1000), 1000)
        tags[296] = unit
    return saved("TIFF", tiffinfo=tags)


@pytest.mark.parametrize(
    ("content", "scale"),
    [
        (tiff(resolution=20_000, unit=CENTIMETRE), 0.5),
        (tiff(resolution=50_800, unit=2), 0.5),
        (tiff(OME.format("0.325", "µm")), 0.325),
        (tiff(OME.format("0.325", "&#181;m")), 0.325),
        (tiff(OME.format("500", "nm")), 0.5),
        (tiff("<OME><Pixels PhysicalSizeX='x'/></OME>", 20_000, CENTIMETRE), 0.5),
        (tiff("ImageJ=1.53t\nunit=micron\n", 2), 0.5),
        (tiff("ImageJ=1.53t\nunit=\\u00B5m\n", 4), 0.25),
        (tiff("ImageJ=1.53t\nunit=mm\n", 100), 10.0),
        (tiff("Aperio Image Library v11|AppMag = 20|MPP = 0.4990"), 0.499),
        (saved("PNG", dpi=(50_800, 50_800)), 0.5),
        (saved("JPEG", dpi=(25_400, 25_400)), 1.0),
        (saved("JPEG", exif=exif(10_000, 10_000, CENTIMETRE)), 1.0),
        (saved("WEBP", exif=exif(40_000, 40_000, CENTIMETRE)), 0.25),
        (saved("BMP", dpi=(12_700, 12_700)), 2.0),
    ],
)
def test_a_scale_that_the_file_tells(content: bytes, scale: float) -> None:
    assert read_scale(content) == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize(
    "content",
    [
        *(saved("PNG", dpi=(dots, dots)) for dots in (72, 96, 300, 600, 1200, 2400, 4800, 9600)),
        *(saved("JPEG", dpi=(dots, dots)) for dots in (72, 96, 300, 2400)),
        *(tiff(resolution=dots, unit=2) for dots in (1, 72, 300, 2400)),
        saved("JPEG", exif=exif(72, 72, 2)),
        saved("JPEG", exif=exif(50_800, 50_800, 1)),  # of an unknown unit
        saved("JPEG", exif=exif(10_000, 20_000, CENTIMETRE)),  # no square pixels
        saved("JPEG"), saved("PNG"), saved("BMP"), saved("WEBP"), saved("JPEG2000"),
        tiff(), tiff("ImageJ=1.53t\nunit=pixel\n", 2), tiff("ImageJ=1.53t\n", 2),
        tiff(OME.format("1", "pixel")), tiff(OME.format("500", "µm")), tiff("|MPP = 0.0"),
        tiff(resolution=1e7, unit=CENTIMETRE),  # finer than light
        b"no picture", b"II*\0damaged", saved("PNG", dpi=(50_800, 50_800))[:30],
    ],
)  # fmt: skip
def test_resolutions_of_screens_printers_and_unknown_units_are_no_scale(content: bytes) -> None:
    assert read_scale(content) is None


def test_the_manifest_has_it_and_what_the_parameter_says_of_the_others(tmp_path: Any) -> None:
    files = {
        "a/told.png": saved("PNG", dpi=(50_800, 50_800)),
        "a/screen.png": saved("PNG", dpi=(72, 72)),
        "b/none.png": picture(1),
    }
    folder = as_folder(files, tmp_path / "s")
    told = manifest_of(folder, tmp_path).set_index("id")["mpp"]
    assert told.to_dict() == {"a/told.png": "0.5", "a/screen.png": "", "b/none.png": ""}
    assert PARAMS.fetch.mpp is None
    told = manifest_of(folder, tmp_path, mpp=2.0).set_index("id")["mpp"]
    assert told.to_dict() == {"a/told.png": "0.5", "a/screen.png": "2", "b/none.png": "2"}
