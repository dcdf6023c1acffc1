"""Cores of drawn microarrays: found, numbered, corrected by hand, cut, and fetched."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cores import CASES, measure
from benchmarks.drawn_slides import GLASS, DrawnCore, draw_array, levels_of, write_pyramid
from tests.source_examples import PARAMS, manifest_of
from tissue.commands import cores as command
from tissue.common.errors import InputError
from tissue.config.fetch import Labels
from tissue.slides.core_tables import check_map, core_name, read_cores, read_map
from tissue.slides.cores import Core, find_cores

MPP = 8.0  # of the drawn slide
SETTINGS = PARAMS.fetch.model_copy(
    update={"slides": PARAMS.fetch.slides.model_copy(update={"mpp": MPP})}
)


def discs(centres: list[tuple[float, float]], radius: float = 20) -> NDArray[np.bool_]:
    """A mask with discs at centres, x and y."""
    y, x = np.mgrid[:320, :320]
    return np.any([(x - a) ** 2 + (y - b) ** 2 <= radius**2 for a, b in centres], axis=0)


def lattice(rows: int = 5, columns: int = 5) -> list[tuple[float, float]]:
    return [(40 + 55 * column, 40 + 55 * row) for row in range(rows) for column in range(columns)]


@pytest.mark.parametrize("case", ["10 % missing, 5 % torn, turned by 5 degrees", "25 % missing"])
def test_places_of_drawn_arrays_are_right(case: str) -> None:
    counts = [measure(seed, CASES[case]) for seed in (1000, 1001)]
    assert sum(right for right, _ in counts) >= 0.975 * sum(places for _, places in counts)


def test_touching_shifted_and_missing_cores_keep_their_places() -> None:
    centres = lattice()
    centres[6] = (centres[7][0] - 39, centres[6][1] + 3)  # touches its neighbour
    centres[18] = (centres[18][0] + 14, centres[18][1] - 12)
    missing = centres.pop(12)
    found = {(one.row, one.column): one for one in find_cores(discs(centres))}
    assert len(found) == 25
    assert [place for place, one in found.items() if one.tissue == 0] == [(2, 2)]
    assert (found[2, 2].x, found[2, 2].y) == pytest.approx(missing, abs=4)
    for one, place in ((centres[6], (1, 1)), (centres[7], (1, 2)), (centres[17], (3, 3))):
        assert (found[place].x, found[place].y) == pytest.approx(one, abs=5)


def test_debris_beside_the_array_is_no_row() -> None:
    mask = discs([*lattice(rows=4), (150, 310)])
    found = find_cores(mask)
    assert max(one.row for one in found) == 3


def test_a_torn_core_has_the_circle_of_its_place() -> None:
    mask = discs(lattice())
    mask[:, 150:175][140:160] = False
    mask[95:180, 150:190] &= np.arange(150, 190) > 158  # less than half of the core in the middle
    (torn,) = [one for one in find_cores(mask) if (one.row, one.column) == (2, 2)]
    assert 0.12 < torn.tissue < 0.6
    assert (torn.x, torn.y) == pytest.approx((150, 150), abs=4)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(InputError, match="expected an array with at least 6 separate cores"):
        find_cores(discs([(80, 80), (200, 200)]))
    with pytest.raises(InputError, match="no tissue"):
        find_cores(np.zeros((50, 50), bool))


def test_rows_are_letters_and_columns_numbers() -> None:
    named = [core_name(*place) for place in ((0, 0), (7, 11), (25, 0), (26, 1), (701, 0), (702, 0))]
    assert named == ["A1", "H12", "Z1", "AA2", "ZZ1", "AAA1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,class\nA,liver", "without column"),
        ("row,column,class\nA,1,liver\n1,1,lung", "line 3.*second row for A1"),
        ("row,column,class\nA,first,liver", "column 'first'"),
        ("row,column,class\nA,0,liver", "column '0'"),
    ],
)
def test_a_map_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_map(tmp_path / "map.csv")


def test_a_map_of_another_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("row;column;class\nA;1;liver\nC;2;lung\n")
    known = read_map(tmp_path / "map.csv")
    cores = [Core(row, column, 0, 0, 9, 1) for row in range(2) for column in range(2)]
    with pytest.raises(InputError, match=r"2 rows and 2 columns\. Received: C2"):
        check_map(known, cores, tmp_path / "map.csv")


@pytest.fixture
def array(tmp_path: Path) -> tuple[Path, Path, list[DrawnCore]]:
    """A slide of an array, its map, and the truth."""
    pytest.importorskip("openslide", reason="needs requirements/slides.txt")
    picture, truth = draw_array(5, rows=4, columns=6, shift=0.03)
    slide = tmp_path / "TMA 7.tif"
    size = (picture.shape[1], picture.shape[0])
    write_pyramid(slide, size, levels_of(picture), mpp=MPP)
    rows = [
        (core_name(one.row, 0)[0], one.column + 1, one.class_name, f"P{one.donor}") for one in truth
    ]
    with (tmp_path / "map.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("Row", "Column", "Class", "Donor"), *rows])
    return slide, tmp_path / "map.csv", truth


@pytest.fixture
def out(array: tuple[Path, Path, list[DrawnCore]], tmp_path: Path) -> Path:
    """The folder into which the cores of the array are cut."""
    slide, map_, _ = array
    command.run(SETTINGS, slide, command.Given(map_, None), tmp_path / "out")
    return tmp_path / "out"


def test_an_array_goes_through_fetch(
    array: tuple[Path, Path, list[DrawnCore]], out: Path, tmp_path: Path
) -> None:
    _, _, truth = array
    assert Image.open(out / "overlay.png").size[0] > 500
    table = f"{out}/cores.csv"
    labels = Labels(table=table, image="image", label="class", group="donor")
    manifest = manifest_of(out / "images", tmp_path, labels=labels)
    expected = {
        f"TMA_7_{core_name(one.row, one.column)}.jpg": (one.class_name, f"P{one.donor}")
        for one in truth
        if one.is_present
    }
    known = zip(manifest["class"], manifest["donor"], strict=True)
    assert dict(zip(manifest["id"], known, strict=True)) == expected
    first = next(one for one in truth if one.is_present)
    with Image.open(out / f"images/TMA_7_{core_name(first.row, first.column)}.jpg") as image:
        assert np.abs(np.asarray(image)[:4, :4].astype(int) - GLASS).max() < 6
        assert np.asarray(image).min() < 150


def test_a_corrected_table_is_used_as_it_is(
    array: tuple[Path, Path, list[DrawnCore]], out: Path, tmp_path: Path
) -> None:
    slide, map_, truth = array
    table = pd.read_csv(out / "cores.csv", dtype=str, keep_default_na=False)
    present = table.index[table["tissue"] != "0"]
    table.loc[present[0], "tissue"] = "0"
    table.loc[present[1], ["x", "y"]] = ["200", "210.5"]
    table.to_csv(out / "cores.csv", index=False)
    command.run(SETTINGS, slide, command.Given(map_, out / "cores.csv"), out)
    again = pd.read_csv(out / "cores.csv", dtype=str, keep_default_na=False)
    assert again.loc[present[0], "image"] == ""
    assert again.drop(columns="image").equals(table.drop(columns="image"))
    assert len(list((out / "images").iterdir())) == len(present) - 1
    assert len(read_cores(out / "cores.csv")) == len(truth)


def test_corrections_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/cores.csv").write_text("corrected")
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path / "a.svs"), "--output", str(tmp_path / "out")])
    assert "would be replaced" in str(ended.value)
    assert (tmp_path / "out/cores.csv").read_text() == "corrected"
