"""What training and test share is found, counted, listed, and dropped or refused if wished."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import duplicates
from stages import fetch
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.config.schema import Phantom, Split
from tissue.images.division import (
    assign_splits,
    check_counts,
    check_training,
    division_metrics,
    list_duplicates,
)

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


def changed(**values: Any) -> Split:
    return Split.model_validate({**PARAMS.split.model_dump(), "min_per_class": 1, **values})


def index_of(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Build an index of (split, class, donor, pixels), as `split` has it before it divides."""
    table = pd.DataFrame(rows, columns=["split", "class", "donor", "sha256"])
    return table.assign(
        id=[f"{row.split}/{number:02d}.jpg" for number, row in enumerate(table.itertuples())],
        source="a.zip", slide="", antibody="", tissue_fraction=0.5, width=9, height=9,
        blur=0.1, haematoxylin=0.1, dab=0.1,
    )  # fmt: skip


# Donor 9 stands on both sides; 02 is a copy of 09, of another class; 03 and 04 are one picture.
ROWS = [
    ("train", "a", "1", "A"), ("train", "a", "9", "B"), ("train", "b", "2", "C"),
    ("train", "a", "3", "D"), ("train", "a", "3", "D"), ("train", "b", "4", "E"),
    ("train", "b", "5", "F"), ("train", "a", "6", "G"), ("test", "a", "9", "H"),
    ("test", "a", "8", "C"), ("test", "b", "7", "I"), ("train", "b", "2", "J"),
]  # fmt: skip
NO_PAIRS = np.empty((0, 2), np.int64)


def test_leaks_are_reported_and_left_where_they_are():
    division = assign_splits(index_of(ROWS), NO_PAIRS, changed(on_leak="report"), seed=1)
    metrics = division_metrics(division, 0)
    assert metrics["images"]["test"] == 3
    assert sum(metrics["images"].values()) == len(ROWS)
    assert metrics["leaks"] == {
        "images": 2, "test_images": 2, "copies": 1, "groups": 1, "dropped": 0,
    }  # fmt: skip
    assert metrics["duplicates"] == {"exact": 2, "near": 0, "across_splits": 1, "relabelled": 1}
    assert metrics["groups"]["shared"] == 2
    table = division.leaked.to_dict("list")
    assert table["id"] == ["train/01.jpg", "train/02.jpg"]
    assert table["shared"] == ["group", "copy"]
    assert table["test_id"] == ["test/08.jpg", "test/09.jpg"]


def test_leaks_are_dropped_from_training_and_never_from_the_test():
    division = assign_splits(index_of(ROWS), NO_PAIRS, changed(on_leak="drop"), seed=1)
    metrics = division_metrics(division, 0)
    assert set(division.index[division.index["part"] == "dropped"]["id"]) == {
        "train/01.jpg", "train/02.jpg",
    }  # fmt: skip
    assert metrics["images"]["test"] == 3
    assert sum(metrics["images"].values()) == len(ROWS) - 2
    assert metrics["leaks"]["dropped"] == metrics["leaks"]["images"] == 2
    assert metrics["groups"]["shared"] == metrics["duplicates"]["across_splits"] == 0
    # The donor of the dropped copy has another image, which stays.
    assert division.kept.set_index("id").at["train/11.jpg", "group"] == "2"


def test_leaks_stop_the_run_if_wished():
    with pytest.raises(InputError, match=r"Received: 2, e\.g\. train/01\.jpg \(group: test/08"):
        assign_splits(index_of(ROWS), NO_PAIRS, changed(on_leak="fail"), seed=1)
    clean = [row for number, row in enumerate(ROWS) if number not in (1, 2)]
    division = assign_splits(index_of(clean), NO_PAIRS, changed(on_leak="fail"), seed=1)
    assert division.leaks["images"] == 0


def test_pictures_without_detail_link_nobody():
    """A white tile of each donor, as beside a section: copies of one another, and no leak."""
    white = [("train", "ab"[n % 2], str(n), "W") for n in (1, 2, 3, 4)] + [("test", "a", "7", "W")]
    index = index_of([*ROWS, *white])
    index.loc[index["sha256"] == "W", "blur"] = 1.0
    division = assign_splits(index, NO_PAIRS, changed(on_leak="report"), seed=1)
    before = assign_splits(index_of(ROWS), NO_PAIRS, changed(on_leak="report"), seed=1)
    assert division.leaks == before.leaks
    assert set(division.index["group"]) == set(before.index["group"])
    duplicates = division_metrics(division, 0)["duplicates"]
    assert duplicates == {"exact": 6, "near": 0, "across_splits": 1, "relabelled": 2}
    assert list_duplicates(division.index)["set"].value_counts().max() == 5


def test_a_class_without_training_images_stops_the_run():
    alone = assign_splits(index_of([*ROWS, ("test", "c", "12", "Z")]), NO_PAIRS, changed(), seed=1)
    with pytest.raises(InputError, match=r"training images of every class. Received: none of c"):
        check_training(alone.kept)
    check_training(assign_splits(index_of(ROWS), NO_PAIRS, changed(), seed=1).kept)
    with pytest.raises(InputError, match=r"expected training images. Received: 12 images, all"):
        assign_splits(index_of([("test", *row[1:]) for row in ROWS]), NO_PAIRS, changed(), seed=1)


def test_a_class_of_which_nothing_is_left_stops_the_run():
    rows = index_of(ROWS)
    check_counts(rows, 3, {"a", "b"})
    with pytest.raises(InputError, match=r"split\.min_per_class: .*Received: c 0"):
        check_counts(rows, 3, {"a", "b", "c"})
    rejected = pd.DataFrame({"id": ["c/1.png", "c/2.png"], "reason": "is truncated"})
    with pytest.raises(InputError, match=r"c 0; 2 images cannot be used, e\.g\. c/1\.png: is trun"):
        check_counts(rows, 3, {"a", "b", "c"}, rejected)


@pytest.mark.parametrize("on_leak", ["report", "drop", "fail"])
def test_a_test_set_that_is_made_here_shares_nothing(on_leak: str):
    rows = [("", *row[1:]) for row in ROWS]
    division = assign_splits(index_of(rows), NO_PAIRS, changed(on_leak=on_leak), seed=1)
    metrics = division_metrics(division, 0)
    assert metrics["leaks"]["images"] == metrics["groups"]["shared"] == 0
    assert metrics["duplicates"]["across_splits"] == 0
    assert sum(metrics["images"].values()) == len(ROWS)


def test_copies_are_listed_set_by_set():
    table = list_duplicates(assign_splits(index_of(ROWS), NO_PAIRS, changed(), seed=1).index)
    assert table["set"].tolist() == [1, 1, 2, 2]
    assert table["id"].tolist() == ["test/09.jpg", "train/02.jpg", "train/03.jpg", "train/04.jpg"]
    assert table["relabelled"].tolist() == [True, True, False, False]
    assert table["exact"].all()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> duplicates.Planted:
    raw = tmp_path_factory.mktemp("phantom") / "raw"
    drawn = Phantom(train_per_class=12, test_per_class=5, size=160)
    settings = PARAMS.fetch.model_copy(update={"source": "phantom", "phantom": drawn})
    fetch.run(settings, seed=5, workers=2, out=raw)
    return duplicates.plant(*duplicates.read_raw(raw), seed=5)


def test_planted_copies_and_donors_are_found(planted: duplicates.Planted, tmp_path: Path):
    table = duplicates.run(planted, changed(), tmp_path, image_size=160)
    assert (table["planted"] > 0).all()
    assert (table["recall"] >= 0.98).all(), table
    assert (table["precision"].dropna() >= 0.98).all(), table
    metrics = json.loads((tmp_path / "split.json").read_text())
    assert metrics["duplicates"]["near"] + metrics["duplicates"]["exact"] == len(planted.copies)
    assert metrics["duplicates"]["relabelled"] == table.set_index("what").at["relabelled", "found"]
    sheet = tmp_path / "data_checks.png"
    assert sheet.stat().st_size < 1_500_000
    assert Image.open(sheet).width > 900


def test_dropped_leaks_leave_nothing_shared(planted: duplicates.Planted, tmp_path: Path):
    reported = planted.manifest["split"].eq("test").sum()
    duplicates.run(planted, changed(on_leak="drop"), tmp_path, image_size=160)
    metrics = json.loads((tmp_path / "split.json").read_text())
    assert metrics["leaks"]["dropped"] == len(pd.read_csv(tmp_path / "split/leaks.csv")) > 0
    assert metrics["groups"]["shared"] == metrics["duplicates"]["across_splits"] == 0
    assert metrics["images"]["test"] == reported
    for part in ("train", "val", "test"):
        array = np.load(tmp_path / f"split/{part}.npy", mmap_mode="r")
        assert (
            len(array)
            == metrics["images"][part]
            == len(pd.read_csv(tmp_path / f"split/{part}.csv"))
        )
