"""Slides, written as pyramidal TIFF files, become tiles at one scale in `fetch`."""

import builtins
import io
import json
import shutil
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.drawn_slides import GLASS, levels_of, write_pyramid
from stages import split
from tests.source_examples import (
    PARAMS,
    as_folder,
    as_zip,
    contents,
    manifest_of,
    picture,
    run_fetch,
)
from tissue.common.errors import InputError
from tissue.data.index import read_split
from tissue.slides.opening import is_pyramid

openslide = pytest.importorskip("openslide", reason="needs requirements/slides.txt")

SIDE = 1600  # pixels of a slide
# 256 pixels of the first level, at half a micrometre each
TILES = PARAMS.fetch.slides.model_copy(update={"size": 64, "mpp": 2.0, "most": 8})
APERIO = "Aperio Image Library v11.2.1\r\n1600x1600 (256x256) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"
OME = '<OME><Image><Pixels SizeX="1600" PhysicalSizeX="500" PhysicalSizeXUnit="nm"/></Image></OME>'


@cache
def drawn(seed: int) -> NDArray[np.uint8]:
    """Glass with stained tissue in the middle, a black edge and white where nothing was scanned."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (SIDE, SIDE), (GLASS,) * 3)
    draw = ImageDraw.Draw(image)
    draw.ellipse((256, 256, 1344, 1344), fill=tuple(rng.integers(110, 200, 3).tolist()))
    draw.rectangle((0, 0, SIDE, 100), fill="black")
    draw.rectangle((0, 1450, SIDE, SIDE), fill="white")
    noise = rng.integers(-6, 7, (SIDE // 4, SIDE // 4, 1)).repeat(4, 0).repeat(4, 1)
    return np.clip(np.asarray(image).astype(int) + noise, 0, 255).astype(np.uint8)


def write_slide(path: Path, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"mpp": None, "description": APERIO} | options
    return write_pyramid(path, (SIDE, SIDE), levels_of(drawn(seed)), **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed in range(6):
        write_slide(folder / ("colon", "liver")[seed % 2] / f"S{seed}.svs", seed)
    return folder


@pytest.fixture
def slides(written: Path, tmp_path: Path) -> Path:
    """Two classes of three slides."""
    return shutil.copytree(written, tmp_path / "slides")


def test_tiles_show_tissue_at_the_scale_that_was_asked_for(slides: Path, tmp_path: Path) -> None:
    manifest = manifest_of(slides, tmp_path, slides=TILES)
    assert manifest["class"].value_counts().to_dict() == {"colon": 24, "liver": 24}
    assert list(manifest["id"]) == sorted(manifest["id"])
    assert set(manifest["mpp"]) == {"2"}
    assert (manifest["donor"] == "").all()
    tiles = contents(tmp_path / "data/raw")
    with zipfile.ZipFile(io.BytesIO(tiles["images-000.zip"])) as archive:
        for row in manifest.itertuples():
            left, top = int(row.x), int(row.y)
            assert row.id == f"{row.slide}/y{top:06}_x{left:06}.jpg"
            found = np.asarray(Image.open(io.BytesIO(archive.read(row.id))), float)
            assert found.shape == (64, 64, 3)
            seed = int(row.slide.partition("/S")[2].removesuffix(".svs"))
            area = drawn(seed)[top : top + 256, left : left + 256].reshape(64, 4, 64, 4, 3)
            expected = area.mean(axis=(1, 3))
            assert np.abs(found - expected).mean() < 3
            assert ((expected < GLASS - 20).all(axis=2)).mean() > 0.1  # tissue
            assert (expected.max(axis=2) < 30).mean() == 0  # not the black edge


def test_the_same_slides_give_the_same_bytes_wherever_and_beside_whatever(
    slides: Path, tmp_path: Path
) -> None:
    one = contents(run_fetch(slides, tmp_path / "one", slides=TILES, workers=1))
    assert one == contents(run_fetch(slides, tmp_path / "two", slides=TILES, workers=2))
    files = {
        path.relative_to(slides).as_posix(): path.read_bytes()
        for path in sorted(slides.rglob("*.svs"))
    }
    packed = as_zip(files, tmp_path / "slides.zip")
    assert (
        one["images-000.zip"]
        == contents(run_fetch(packed, tmp_path / "zip", slides=TILES))["images-000.zip"]
    )
    (slides / "liver/S5.svs").unlink()
    fewer = manifest_of(slides, tmp_path / "fewer", slides=TILES)
    every = pd.read_csv(tmp_path / "one/data/raw/manifest.csv", dtype=str)
    rest = every[every["slide"] != "liver/S5.svs"]
    assert list(fewer["sha256"]) == list(rest["sha256"])


@pytest.mark.parametrize(
    ("name", "options", "mpp"),
    [
        ("a.tif", {"description": "", "mpp": 0.5}, None),
        ("a.ome.tif", {"description": OME}, None),
        ("a.tiff", {"description": ""}, 0.5),
        ("a.tif", {"description": "", "mpp": 25400 / 72}, 0.5),  # the resolution of a screen
        ("a.svs", {"downsamples": (1,)}, None),
    ],
)
def test_kinds_of_slides_and_who_tells_their_scale(
    name: str, options: dict[str, Any], mpp: float | None, tmp_path: Path
) -> None:
    for class_name in ("colon", "liver"):
        write_slide(tmp_path / "s" / class_name / name, **options)
    manifest = manifest_of(tmp_path / "s", tmp_path, slides=TILES, mpp=mpp)
    assert len(manifest) == 16
    # At half a micrometre, tiles are 256 pixels apart.
    assert (manifest[["x", "y"]].astype(int) % 256 == 0).all(axis=None)


def test_a_slide_without_a_scale_or_a_coarser_one_stops_the_run(tmp_path: Path) -> None:
    write_slide(tmp_path / "s/colon/a.tif", description="")
    write_slide(tmp_path / "s/liver/b.svs")
    with pytest.raises(InputError, match=r"a\.tif: expected its micrometres per pixel.*fetch\.mpp"):
        run_fetch(tmp_path / "s", tmp_path, slides=TILES)
    fine = TILES.model_copy(update={"mpp": 0.25})
    with pytest.raises(InputError, match=r"at most 0\.25 micrometres per pixel.*Received: 0\.5"):
        run_fetch(tmp_path / "s", tmp_path, slides=fine, mpp=0.5)


def test_a_damaged_slide_is_named(slides: Path, tmp_path: Path) -> None:
    (slides / "liver/S5.svs").write_bytes(b"no slide")
    with pytest.raises(InputError, match=r"S5\.svs: expected a slide that OpenSlide reads"):
        run_fetch(slides, tmp_path, slides=TILES)


def test_slides_among_pictures_need_the_extra(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_folder({f"{name}/{n}.png": picture(n) for n in range(200) for name in ("a", "b")}, slides)
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "openslide":
            raise ImportError("No module named 'openslide'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install -r requirements/slides\.txt"):
        run_fetch(slides, tmp_path, slides=TILES)


def test_a_pyramid_in_an_archive_is_no_picture(tmp_path: Path) -> None:
    pyramid = write_slide(tmp_path / "a.tif", mpp=0.5, description="").read_bytes()
    files = {"colon/a.tif": pyramid, "liver/b.png": picture(1)}
    with pytest.raises(InputError, match=r"colon/a\.tif in an archive\. Unpack it"):
        run_fetch(as_zip(files, tmp_path / "a.zip"), tmp_path, slides=TILES)


def test_ordinary_tiff_files_are_pictures() -> None:
    for options in ({}, {"compression": "jpeg"}, {"big_tiff": True}):
        assert not is_pyramid(io.BytesIO(picture(1, "TIFF", side=64, **options)))
    assert not is_pyramid(io.BytesIO(b"II*\0damaged"))


def test_a_table_names_class_donor_and_split_of_slides(slides: Path, tmp_path: Path) -> None:
    rows = [f"S{n},{'tumour' if n % 2 else 'normal'},P{n // 2}" for n in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["slide,dx,patient", *rows]))
    labels = {"table": str(tmp_path / "t.csv"), "image": "slide", "label": "dx", "group": "patient"}
    given = type(PARAMS.fetch).model_validate({**PARAMS.fetch.model_dump(), "labels": labels})
    manifest = manifest_of(slides, tmp_path, slides=TILES, labels=given.labels)
    found = manifest[["slide", "class", "donor"]].drop_duplicates().set_index("slide")
    assert found.loc["liver/S3.svs"].tolist() == ["tumour", "P1"]
    assert found["donor"].nunique() == 3


def test_tiles_of_a_slide_are_in_one_split(slides: Path, tmp_path: Path) -> None:
    as_folder(
        {f"{name}/{n}.png": picture(n, side=64) for n in range(3) for name in ("colon", "liver")},
        slides,
    )
    run_fetch(slides, tmp_path, slides=TILES)
    split.run(PARAMS.model_copy(update={"image_size": 32}), tmp_path, workers=0)
    tables = [pd.read_csv(tmp_path / f"data/split/{name}.csv") for name in ("train", "val", "test")]
    of = [set(table["slide"].dropna()) for table in tables]
    assert of[0]
    assert of[2]
    assert len(set.union(*of)) == sum(map(len, of)) == 6
    metrics = json.loads((tmp_path / "metrics/split.json").read_text())
    assert metrics["group_rule"] == "slide"
    assert metrics["donors"] == "not known"


def test_tiles_and_pictures_of_other_scales_are_not_mixed(slides: Path, tmp_path: Path) -> None:
    files = {
        f"{name}/{n}.png": picture(n, side=64) for n in range(2) for name in ("colon", "liver")
    }
    run_fetch(as_folder(files, slides), tmp_path, slides=TILES, mpp=0.25)
    small = PARAMS.model_copy(update={"image_size": 32})
    received = r"4 with 0\.25 micrometres per pixel, which show 16 .* and 48 with 2 .* show 128 "
    with pytest.raises(InputError, match=rf"{received}.*Set split\.field"):
        split.run(small, tmp_path, workers=0)
    # Brought to one, the tiles are cut and the pictures padded.
    field = small.split.model_copy(update={"field": 64.0})
    split.run(small.model_copy(update={"split": field}), tmp_path, workers=0)
    images = [
        read_split(tmp_path / "data/split", name).images[row]
        for name in ("train", "val", "test")
        for row, mpp in enumerate(read_split(tmp_path / "data/split", name).index["mpp"])
        if mpp == "0.25"
    ]
    assert len(images) == 4
    for image in images:
        shown = (image < 255).any(axis=2)
        assert shown[12:20, 12:20].all()  # 16 of 64 micrometres
        assert shown.sum() <= 100
    run_fetch(slides, tmp_path, slides=TILES, mpp=1.9)
    split.run(small, tmp_path, workers=0)
