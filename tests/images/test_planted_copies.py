"""The stage `split` finds the copies and shared donors that are planted in a small phantom."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from benchmarks import duplicates
from stages import fetch, split
from tests.pipeline import ROOT
from tissue.config.fetch import Phantom
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import read_split

Planted = tuple[Path, duplicates.Planted]


def params(**split_changes: object) -> Params:
    values = load_params(ROOT / "params.yaml")
    phantom = Phantom(train_per_class=12, test_per_class=5, size=160)
    return values.model_copy(
        update={
            "seed": 5,
            "image_size": 160,
            "fetch": values.fetch.model_copy(update={"source": "phantom", "phantom": phantom}),
            "split": values.split.model_copy(update={"min_per_class": 1, **split_changes}),
        }
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("phantom")
    fetch.run(params(), folder / "drawn", workers=2)
    raw = folder / "drawn/data/raw"
    return folder, duplicates.plant(raw, folder / "data/raw", seed=5)


def test_planted_copies_and_donors_are_found(planted: Planted):
    root, truth = planted
    split.run(params(), root, workers=0)
    table = duplicates.measure(truth, root / "data/split")
    assert (table["planted"] > 0).all()
    assert (table["recall"] >= 0.98).all(), table
    assert (table["precision"].dropna() >= 0.98).all(), table
    counts = json.loads((root / "metrics/split.json").read_text())["duplicates"]
    assert counts["near"] + counts["exact"] == len(truth.copies)
    assert counts["relabelled"] == table.set_index("what").at["relabelled", "found"]
    sheet = root / "plots/data_checks.png"
    assert sheet.stat().st_size < 1_500_000
    assert Image.open(sheet).width > 900


def test_dropped_leaks_leave_nothing_shared(planted: Planted):
    root, truth = planted
    split.run(params(on_leak="drop"), root, workers=0)
    metrics = json.loads((root / "metrics/split.json").read_text())
    assert metrics["leaks"]["dropped"] == len(pd.read_csv(root / "data/split/leaks.csv")) > 0
    assert metrics["groups"]["shared"] == metrics["duplicates"]["across_splits"] == 0
    assert metrics["images"]["test"] == truth.manifest["split"].eq("test").sum()
    for name, count in metrics["images"].items():
        assert len(read_split(root / "data/split", name).index) == count
