"""Splits by whole groups; leaks and copies are found, counted, listed, and dropped or refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.images.division import Division, assign_splits
from tissue.images.duplicates import list_duplicates
from tissue.images.summary import describe_division, division_metrics
from tissue.phantom.plan import plan_cores

Pairs = Sequence[tuple[int, int]]
DEFAULT = load_params(ROOT / "params.yaml").split
# Donor 9 is on both sides; 02 is a copy of 09, of another class; 03 and 04 are one picture.
ROWS = [
    ("train", "a", "1", "A"), ("train", "a", "9", "B"), ("train", "b", "2", "C"),
    ("train", "a", "3", "D"), ("train", "a", "3", "D"), ("train", "b", "4", "E"),
    ("train", "b", "5", "F"), ("train", "a", "6", "G"), ("test", "a", "9", "H"),
    ("test", "a", "8", "C"), ("test", "b", "7", "I"), ("train", "b", "2", "J"),
]  # fmt: skip


def divide(rows: list[tuple[str, str, str, str]], pairs: Pairs = (), **changes: Any) -> Division:
    """Divide images of (split, class, donor, pixels) without near-duplicates; W is white."""
    table = pd.DataFrame(rows, columns=["split", "class", "donor", "sha256"])
    index = table.assign(
        id=[f"{row.split}/{number:02d}.jpg" for number, row in enumerate(table.itertuples())],
        blur=np.where(table["sha256"] == "W", 1.0, 0.1), source="a.zip",
        slide="", x="", y="", mpp="",
        tissue_fraction=0.5,
    )  # fmt: skip
    settings = DEFAULT.model_copy(update={"min_per_class": 1, **changes})
    return assign_splits(index, np.array(pairs, np.int64).reshape(-1, 2), settings, seed=1)


def test_leaks_are_reported_and_stay_where_they_are():
    division = divide(ROWS, on_leak="report")
    metrics = division_metrics(division, 0)
    assert metrics["images"]["test"] == 3
    assert sum(metrics["images"].values()) == len(ROWS)
    assert metrics["leaks"] == {
        "images": 2, "test_images": 2, "copies": 1, "groups": 1, "dropped": 0, "possible": 0,
    }  # fmt: skip
    assert metrics["duplicates"] == {"exact": 2, "near": 0, "across_splits": 1, "relabelled": 1}
    assert metrics["groups"]["shared"] == 2
    table = division.leaked.to_dict("list")
    assert table["id"] == ["train/01.jpg", "train/02.jpg"]
    assert table["shared"] == ["group", "copy"]
    assert table["test_id"] == ["test/08.jpg", "test/09.jpg"]


def test_look_alikes_that_leave_one_group_are_named_with_the_way_out():
    rows = [("", "a", "", "A"), ("", "b", "", "B"), ("", "a", "", "C"), ("", "b", "", "D")]
    pairs = [(0, 1), (1, 2), (2, 3)]
    message = r"made of 3 pairs of copies, e\.g\. /00\.jpg = /01\.jpg; .*split\.copies to report"
    with pytest.raises(InputError, match=message):
        divide(rows, pairs)


def test_leaks_are_dropped_from_training_and_never_from_the_test_set():
    division = divide(ROWS, on_leak="drop")
    metrics = division_metrics(division, 0)
    assert set(division.index[division.index["assigned"] == "dropped"]["id"]) == {
        "train/01.jpg", "train/02.jpg",
    }  # fmt: skip
    assert metrics["images"]["test"] == 3
    assert sum(metrics["images"].values()) == len(ROWS) - 2
    assert metrics["leaks"]["dropped"] == metrics["leaks"]["images"] == 2
    assert metrics["groups"]["shared"] == metrics["duplicates"]["across_splits"] == 0
    # The donor of the dropped copy has another image, which stays.
    assert division.kept.set_index("id").at["train/11.jpg", "group"] == "2"


def test_leaks_stop_the_run_if_they_must():
    with pytest.raises(InputError, match=r"Received: 2, e\.g\. train/01\.jpg \(group: test/08"):
        divide(ROWS, on_leak="fail")
    clean = [row for number, row in enumerate(ROWS) if number not in (1, 2)]
    assert divide(clean, on_leak="fail").leaks["images"] == 0


def test_images_without_detail_do_not_link_donors():
    """White tiles of several donors are copies of each other, but they do not leak."""
    white = [("train", "ab"[n % 2], str(n), "W") for n in (1, 2, 3, 4)] + [("test", "a", "7", "W")]
    division, before = (divide(rows, on_leak="report") for rows in ([*ROWS, *white], ROWS))
    assert division.leaks == before.leaks
    assert set(division.index["group"]) == set(before.index["group"])
    duplicates = division_metrics(division, 0)["duplicates"]
    assert duplicates == {"exact": 6, "near": 0, "across_splits": 1, "relabelled": 2}
    assert list_duplicates(division.index)["set"].value_counts().max() == 5


def test_blank_images_are_counted_and_named():
    division = divide(ROWS)
    assert "tissue" not in "".join(describe_division(division, 0, DEFAULT))
    division.index.loc[:1, "tissue_fraction"] = 0.01
    assert division_metrics(division, 0)["blank"] == 2
    line = "2 images show nearly no tissue; `predict` would refuse them"
    assert line in describe_division(division, 0, DEFAULT)


def test_every_class_needs_training_images():
    with pytest.raises(InputError, match=r"training images of every class. Received: none of c"):
        divide([*ROWS, ("test", "c", "12", "Z")])
    with pytest.raises(InputError, match=r"expected training images. Received: 12 images, all"):
        divide([("test", *row[1:]) for row in ROWS])


def test_a_class_that_loses_its_images_to_leaks_stops_the_run():
    rows = [*ROWS, ("train", "c", "7", "Z")]
    with pytest.raises(InputError, match=r"split\.min_per_class: .*Received: c 0"):
        divide(rows, on_leak="drop")


@pytest.mark.parametrize("on_leak", ["report", "drop", "fail"])
def test_a_test_set_that_is_made_here_shares_nothing(on_leak: str):
    metrics = division_metrics(divide([("", *row[1:]) for row in ROWS], on_leak=on_leak), 0)
    assert metrics["leaks"]["images"] == metrics["groups"]["shared"] == 0
    assert metrics["duplicates"]["across_splits"] == 0
    assert sum(metrics["images"].values()) == len(ROWS)


def test_copies_are_listed_set_by_set():
    table = list_duplicates(divide(ROWS).index)
    assert table["set"].tolist() == [1, 1, 2, 2]
    assert table["id"].tolist() == ["test/09.jpg", "train/02.jpg", "train/03.jpg", "train/04.jpg"]
    assert table["relabelled"].tolist() == [True, True, False, False]
    assert table["exact"].all()


@pytest.fixture(scope="module")
def phantom() -> pd.DataFrame:
    """The images of the default phantom with their true donors, but without a donor column."""
    drawn = load_params(ROOT / "params.yaml").fetch.phantom
    cores = plan_cores(**drawn.model_dump(), seed=17)
    return pd.DataFrame(
        {
            "id": [core.id for core in cores], "split": [core.split for core in cores],
            "class": [core.class_name for core in cores], "true": [core.donor for core in cores],
            "slide": [core.slide for core in cores], "donor": "", "source": "a.zip",
            "x": "", "y": "", "mpp": "", "blur": 0.1,
            "sha256": [core.id for core in cores], "tissue_fraction": 0.5,
        }
    )  # fmt: skip


@pytest.mark.parametrize("slides", ["known", "hidden"])
@pytest.mark.parametrize("given", ["test set given", "test set made here"])
def test_no_donor_straddles_splits_that_are_made_from_atlas_names(
    phantom: pd.DataFrame, slides: str, given: str
):
    index = phantom.assign(slide=phantom["slide"] if slides == "known" else "")
    if given != "test set given":
        index["split"] = ""
    division = assign_splits(index, np.empty((0, 2), np.int64), DEFAULT, seed=1)
    made = ["train", "val"] if given == "test set given" else ["train", "val", "test"]
    donors = [set(division.splits[name]["true"]) for name in made]
    assert all(donors)
    assert sum(map(len, donors)) == len(set.union(*donors))
    # No donor of the phantom is in training and in the test set, so there is no leak to report.
    assert division.leaks["images"] == division.leaks["test_images"] == len(division.leaked) == 0
    metrics = division_metrics(division, 0)
    assert metrics["donors"] == "not known"
    assert metrics["group_rule"] == "array position in file name"
    printed = "\n".join(describe_division(division, 0, DEFAULT))
    assert "groups by array position in file name, donors are not known;" in printed
    size = metrics["images"]
    val = f"validation takes {size['val'] / (size['val'] + size['train']):.0%} of the training"
    test = f"test takes {size['test'] / 1080:.0%} of all images instead of 25%, "
    made = test if given == "test set made here" else ""
    sizes = f"with only 3 groups in a class, {made}{val} images instead of 20%, training keeps "
    assert f"{sizes}{size['train']} images" in printed
    assert "`python -m tissue donors" in printed
    possible = metrics["leaks"]["possible"]
    assert possible == (720 if given == "test set given" else 0)
    warned = f"up to {possible} training images may share" in printed
    assert warned == (given == "test set given")


def test_a_few_other_names_do_not_hide_the_positions(phantom: pd.DataFrame):
    index = phantom.assign(split="")
    index.loc[:9, "id"] = [f"colon/scan {number}.jpg" for number in range(10)]
    division = assign_splits(index, np.empty((0, 2), np.int64), DEFAULT, seed=1)
    assert division.rule == "array position in file name"
    named = division.index[10:]
    assert (named.groupby("true")["assigned"].nunique() == 1).all()
    printed = "\n".join(describe_division(division, 0, DEFAULT))
    assert "10 images have no position in their name" in printed


def test_a_split_that_cannot_be_made_by_position_names_the_way_out(phantom: pd.DataFrame):
    position = phantom["id"].str.rsplit("/", n=1).str[1].str.partition("_")[2]
    first = position.groupby(phantom["class"]).transform("min")
    index = phantom[position == first].assign(split="").reset_index(drop=True)
    with pytest.raises(InputError, match="`python -m tissue donors` asks the atlas"):
        assign_splits(index, np.empty((0, 2), np.int64), DEFAULT, seed=1)


def test_without_names_of_the_atlas_slides_claim_no_leak(phantom: pd.DataFrame):
    index = phantom.assign(id=[f"{row.split}/{row.Index}.jpg" for row in phantom.itertuples()])
    division = assign_splits(index, np.empty((0, 2), np.int64), DEFAULT, seed=1)
    assert division.rule == "near-duplicate cluster"
    assert division.leaks["images"] == division.leaks["possible"] == 0
    assert "donors are not known" in describe_division(division, 0, DEFAULT)[0]


@pytest.mark.parametrize("on_leak", ["drop", "fail"])
def test_leaks_by_position_are_no_facts_to_act_on(phantom: pd.DataFrame, on_leak: str):
    settings = DEFAULT.model_copy(update={"on_leak": on_leak})
    division = assign_splits(phantom, np.empty((0, 2), np.int64), settings, seed=1)
    assert len(division.kept) == len(phantom)


def test_copies_that_are_only_reported_join_no_donors_and_leak_nothing():
    """12 is a copy of a picture of donor A, under the name of donor B, in the test set."""
    rows = [("train", "ab"[n % 2], f"P{n // 4}", f"X{n}") for n in range(16)]
    rows += [("test", "a", "Q", "Y"), ("test", "b", "Q", "Z")]
    linked = divide(rows, [(0, 4), (8, 16)], on_leak="report", copies="link")
    assert division_metrics(linked, 0)["leaks"]["images"] == 1
    reported = divide(rows, [(0, 4), (8, 16)], on_leak="drop", copies="report")
    metrics = division_metrics(reported, 0)
    assert metrics["leaks"]["images"] == metrics["leaks"]["dropped"] == 0
    assert metrics["copies"] == "report"
    assert metrics["duplicates"]["near"] == 2
    assert metrics["groups"]["joined_by_copies"] == 0
    assert set(reported.index["group"]) == set(reported.index["donor"])
    assert len(list_duplicates(reported.index)) == 4


def test_the_message_names_copies_that_joined_donors():
    rows = [("train", "ab"[n % 2], f"P{n // 2}", f"X{n}") for n in range(12)]
    division = divide(rows, [(0, 2), (1, 4)], test_fraction=0.2)
    assert "train/00.jpg (P0) = train/02.jpg (P1)" in describe_division(division, 0, DEFAULT)[-1]
    assert division_metrics(division, 0)["groups"]["joined_by_copies"] == 2
    everything = [(0, row) for row in range(1, 12)]
    with pytest.raises(
        InputError, match=r"Received: 1 in all.* 10 pairs of copies, e\.g\. train/00"
    ):
        divide(rows, everything)
    assert division_metrics(divide(rows, everything, copies="report"), 0)["classes"] == 2


def test_images_are_groups_where_neither_donors_nor_copies_join_them():
    rows = [("train", "ab"[n % 2], "", f"X{n}") for n in range(16)]
    for copies, rule in {"link": "near-duplicate cluster", "report": "single image"}.items():
        division = divide(rows, [(0, 2)], copies=copies)
        assert division.rule == rule
        assert division.index["group"].nunique() == (15 if copies == "link" else 16)


@pytest.mark.parametrize(("small", "warned"), [(4, True), (8, False)])
def test_classes_beyond_three_to_one_are_warned_of(small: int, warned: bool):
    rows = [("", "a", f"a{number}", f"A{number}") for number in range(24)]
    rows += [("", "b", f"b{number}", f"B{number}") for number in range(small)]
    lines = describe_division(divide(rows), 0, DEFAULT)
    assert any(line.startswith("classes are unequal: ") for line in lines) == warned


class TestGivenValidation:
    ROWS = (
        *(("train", "ab"[n % 2], str(n), f"A{n}") for n in range(12)),
        *(("val", "ab"[n % 2], str(20 + n), f"B{n}") for n in range(4)),
        *(("test", "ab"[n % 2], str(30 + n), f"C{n}") for n in range(4)),
    )

    def test_it_is_kept(self) -> None:
        division = divide(list(self.ROWS))
        assert (division.index["assigned"] == division.index["split"]).all()
        assert division_metrics(division, 0)["images"] == {"train": 12, "val": 4, "test": 4}

    def test_a_test_set_is_taken_from_training_only(self) -> None:
        rows = [row for row in self.ROWS if row[0] != "test"]
        rows[0] = ("train", "a", "20", "A0")  # a donor of the validation set
        index = divide(rows).index
        assert (index["assigned"] == "test").any()
        assert (index.loc[index["split"] == "val", "assigned"] == "val").all()
        assert index.loc[0, "assigned"] == "train"

    @pytest.mark.parametrize("shared", ["donor", "picture"])
    def test_its_donors_and_copies_in_training_are_leaks(self, shared: str) -> None:
        rows = list(self.ROWS)
        rows[0] = ("train", "a", "20", "A0") if shared == "donor" else ("train", "a", "0", "B0")
        division = divide(rows, on_leak="drop")
        assert division.index.loc[0, "assigned"] == "dropped"
        assert division.leaked["test_id"].tolist() == ["val/12.jpg"]
        assert division_metrics(division, 0)["leaks"]["images"] == 1
        said = " ".join(describe_division(division, 0, DEFAULT))
        assert "1 training image shares a copy or a donor with the test or validation set" in said

    def test_training_is_needed(self) -> None:
        rows = [row for row in self.ROWS if row[0] != "train"]
        with pytest.raises(InputError, match=r"expected training images.*all of them in test/ or"):
            divide(rows)
