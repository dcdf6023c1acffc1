"""Whole slides and an array of cores, drawn as pyramidal TIFF files, become a report."""

import csv
import json
import shutil
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.drawn_slides import draw_array, levels_of, write_pyramid
from tests.conftest import TINY, update_params
from tests.pipeline import ORDER, ROOT
from tissue.commands import cores
from tissue.config.loading import load_params
from tissue.slides.core_tables import core_name

MPP = 0.5  # micrometres per pixel of all slides, whose tiles and cores are twice as coarse
CLASSES = ("colon", "liver")
TILES = {"mpp": 2 * MPP, "size": 64, "most": 4}
CHANGES = {
    "split": {"min_per_class": 4},
    "scratch": {"progressive": [1.0], "epochs": 1},
    "evaluate": {"heat_maps": 2},
    "tsne": {"perplexity": 5},
}


def write_array(folder: Path) -> list[tuple[str, str, str]]:
    """Write a slide of 5 x 6 cores; return place, class and donor of those that are present."""
    picture, truth = draw_array(5, rows=5, columns=6, shift=0.03)
    size = (picture.shape[1], picture.shape[0])
    write_pyramid(folder / "TMA.tif", size, levels_of(picture), mpp=MPP)
    rows = [
        (one.row + 1, one.column + 1, CLASSES[one.column % 2], f"P{one.row}{one.column // 2}")
        for one in truth
    ]
    with (folder / "map.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("row", "column", "class", "donor"), *rows])
    return [
        (f"TMA_{core_name(one.row, one.column)}.jpg", *row[2:])
        for one, row in zip(truth, rows, strict=True)
        if one.is_present
    ]


def write_slides(folder: Path) -> list[tuple[str, str, str]]:
    """Write slides of sections of several cores; return name, class and donor of each."""
    rows = []
    for number in range(8):
        picture, _ = draw_array(
            number, rows=2, columns=2, size=256, missing=0, torn=0, shift=0, degrees=0
        )
        size = (picture.shape[1], picture.shape[0])
        description = f"Aperio Image Library v11|AppMag = 20|MPP = {MPP}"
        write_pyramid(
            folder / f"S{number}.svs", size, levels_of(picture), mpp=None, description=description
        )
        rows.append((f"S{number}.svs", CLASSES[number % 2], f"D{number}"))
    return rows


def test_slides_and_an_array_reach_the_report(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="needs requirements/slides.txt")
    (tmp_path / "slides").mkdir()
    slides, places = write_slides(tmp_path / "slides"), write_array(tmp_path)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "organ", "patient"), *slides, *places])
    for name in ("params.yaml", "docs/moen-2019.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    labels = {"table": str(tmp_path / "labels.csv"), "image": "file", "label": "organ"}
    source = [str(tmp_path / name) for name in ("slides", "cores/images")]
    fetched = {"source": source, "slides": TILES, "labels": labels | {"group": "patient"}}
    update_params(tmp_path / "params.yaml", TINY)
    update_params(tmp_path / "params.yaml", CHANGES | {"fetch": fetched})
    params = load_params(tmp_path / "params.yaml")
    given = cores.Given(tmp_path / "map.csv", None)
    cores.run(params.fetch, tmp_path / "TMA.tif", given, tmp_path / "cores")
    for stage in ORDER:
        alone = {"workers": 0} if stage == "split" else {}  # processes take seconds to start
        import_module(f"stages.{stage}").run(params, tmp_path, **alone)
    manifest = pd.read_csv(tmp_path / "data/raw/manifest.csv", dtype=str, keep_default_na=False)
    assert set(manifest["mpp"]) == {"1"}
    tiles = manifest[manifest["slide"] != ""]
    assert tiles.groupby("slide").size().to_dict() == dict.fromkeys((row[0] for row in slides), 4)
    assert set(manifest[manifest["slide"] == ""]["id"]) == {name for name, *_ in places}
    measured = json.loads((tmp_path / "metrics/split.json").read_text())
    assert measured["group_rule"] == "donor"
    assert measured["groups"]["shared"] == 0
    test = json.loads((tmp_path / "metrics/pretrained.json").read_text())["test"]
    assert test["cases"] < test["n"]
    page = (tmp_path / "plots/report.html").read_text(encoding="utf-8")
    assert f"Accuracy by case (n = {test['cases']})" in page
    assert "donor" in page
