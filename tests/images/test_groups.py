"""Where groups come from: the user's table or pattern, the source, file names, copies."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.common.files import write_table
from tissue.common.names import position_of, slide_of
from tissue.config.loading import load_params
from tissue.config.schema import Split
from tissue.data.index import read_index
from tissue.images.groups import add_known_groups, assign_groups, name_groups

ALONE = np.arange(4)
DEFAULT = load_params(ROOT / "params.yaml").split


def table_of(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": ["d", "c", "b", "a"], "donor": "", "slide": "", "x": "", **columns})


def settings(**values: Any) -> Split:
    return Split.model_validate({**DEFAULT.model_dump(), **values})


@pytest.mark.parametrize(
    ("donors", "slides", "rule", "expected"),
    [
        ("7789", "1234", "donor", "7789"),
        (["7", "", "8", "9"], "1134", "near-duplicate cluster", "bcba"),
    ],
)
def test_groups_are_donors_else_clusters_and_never_slides(donors, slides, rule, expected):
    index = table_of(donor=list(donors), slide=list(slides))
    names, used = name_groups(index, np.array([0, 1, 0, 2]), DEFAULT)
    assert used == rule
    assert names.tolist() == list(expected)


def test_atlas_file_names_contain_the_position_and_the_slide_separates_no_donors():
    index = table_of(
        id=["train/a/4821_A_3_5.jpg", "train/a/7_A_3_5.jpg", "b/7_A_1_1.x", "1_A_2_2"],
        slide=["4821", "7", "7", "1"],
    ).assign(**{"class": list("aabb")})
    names, rule = name_groups(index, ALONE, DEFAULT)
    assert rule == "array position in file name"
    assert names.tolist() == ["a A_3_5", "a A_3_5", "b A_1_1", "b A_2_2"]
    index.loc[1, "id"] = "train/a/4821_C_1_2.jpg"
    names, rule = name_groups(index, ALONE, DEFAULT)
    assert rule == "array position in file name"
    assert names.tolist() == ["a A_3_5", "train/a/4821_C_1_2.jpg", "b A_1_1", "b A_2_2"]
    index.loc[0, "id"] = "train/a/4821.jpg"
    assert name_groups(index, ALONE, DEFAULT)[1] == "near-duplicate cluster"


@pytest.mark.parametrize(
    ("name", "slide", "position"),
    [
        ("4821_A_3_5.jpg", "4821", "A_3_5"),
        ("train/colon/4821_B_12_10.JPG", "4821", "B_12_10"),
        ("colon/4821_A_3_5 (1).jpg", "4821", "A_3_5"),
        ("colon/HPA012345_4821_A_3_5_copy.jpg", "4821", "A_3_5"),
        ("4821_C_3_5.jpg", "", ""),
        ("x4821_A_3_5.jpg", "", ""),
        ("4821_A_3_5b.jpg", "", ""),
        ("4821_A_3/5.jpg", "", ""),
    ],
)
def test_slide_and_position_in_names(name: str, slide: str, position: str):
    assert (slide_of(name), position_of(name)) == (slide, position)


def test_pattern_takes_precedence_over_the_source_and_the_table_over_both(tmp_path: Path):
    ids = ["a/p1-x.jpg", "b/p1-y.jpg", "b/p2-x.jpg"]
    index = pd.DataFrame({"id": ids, "donor": ["1", "2", "3"], "slide": ""})
    path = tmp_path / "groups.csv"
    index.assign(path=ids, group=["u", "v", "v"])[["path", "group"]].to_csv(path)
    by_pattern = settings(group_pattern=r"/(p\d+)-")
    by_table = by_pattern.model_copy(update={"metadata": str(path)})
    for given, rule, expected in (
        (by_pattern, "group_pattern", ["p1", "p1", "p2"]),
        (by_table, "metadata", ["u", "v", "v"]),
    ):
        names, used = name_groups(add_known_groups(index, given), np.arange(3), given)
        assert used == rule
        assert names.tolist() == expected


def test_pattern_that_misses_an_image_names_it():
    index = pd.DataFrame({"id": ["a/p1.jpg", "a/other.jpg"]})
    with pytest.raises(InputError, match=r"split\.group_pattern: .*nothing for 1, e\.g\. a/other"):
        add_known_groups(index, settings(group_pattern=r"/(p\d+)"))


@pytest.mark.parametrize("pattern", ["(", "no group", "(two)(groups)"])
def test_pattern_is_checked_before_anything_runs(pattern):
    with pytest.raises(ValueError, match="a regular expression"):
        settings(group_pattern=pattern)


def from_table(content: bytes, folder: Path, *ids: str) -> list[str]:
    path = folder / "groups.csv"
    path.write_bytes(content)
    index = pd.DataFrame({"id": ids})
    return add_known_groups(index, settings(metadata=str(path)))["donor"].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,donor\na,1\n", "expected the columns path and group.* Received: id, donor"),
        (b"path;group\na;1\n", "separated by a comma. Received: path;group"),
        (b"path,group\na/\xff\xfe.jpg,1\n", "expected a CSV file in UTF-8"),
        (b"", "expected a CSV file in UTF-8"),
        (b"path,group\n\xc3\xa9.jpg,1\n\xc3\xa9.jpg,2\n", "several for é.jpg"),
        (b"path,group\nx.jpg,1\n", "none for 1, e.g. é.jpg, but 'x.jpg', which is no image"),
        (b"path,group\n\xc3\xa9.jpg,\n", "none for 1, e.g. é.jpg"),
    ],
)
def test_table_that_cannot_be_used(content: bytes, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message):
        from_table(content, tmp_path, "é.jpg")


def test_table_that_is_no_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"does not exist in /.* an absolute path"):
        add_known_groups(table_of(), settings(metadata="nowhere.csv"))
    with pytest.raises(InputError, match="which is a folder"):
        add_known_groups(table_of(), settings(metadata=str(tmp_path)))


def test_paths_may_be_written_by_macos(tmp_path: Path):
    content = "path,group\ne\N{COMBINING ACUTE ACCENT}.jpg,1\n".encode()
    assert from_table(content, tmp_path, "é.jpg") == ["1"]


@pytest.mark.parametrize(("one", "other"), [("P1", " P1"), ("é", "e\u0301")])
def test_spaces_and_unicode_forms_do_not_divide_donors(one: str, other: str, tmp_path: Path):
    content = f"path,group\na.jpg,{one}\nb.jpg,{other}\n".encode()
    assert from_table(content, tmp_path, "a.jpg", "b.jpg") == [one, one]


def test_donors_that_share_a_copy_become_one_group():
    group = assign_groups(pd.Series(["7", "8", "8", "9"]), np.array([0, 0, 1, 2]))
    assert group.tolist() == ["7", "7", "7", "9"]


def test_groups_keep_the_rows_of_any_index():
    names = pd.Series(["7", "7", "8", "9"], pd.Index([5, 3, 9, 1]))
    assert assign_groups(names, ALONE).index.tolist() == [5, 3, 9, 1]


def test_tiles_are_grouped_by_donor_else_by_slide_and_pictures_beside_them_by_copies():
    index = table_of(donor=["7", "", "", ""], slide=["S1", "S2", "", ""], x=["0", "0", "", ""])
    names, rule = name_groups(index, np.array([0, 1, 2, 2]), DEFAULT)
    assert rule == "slide"
    assert names.tolist() == ["7", "S2", "a", "a"]
    names, rule = name_groups(index.assign(donor="7"), ALONE, DEFAULT)
    assert rule == "donor"


def test_groups_that_a_cell_of_a_table_cannot_hold(tmp_path: Path):
    content = b'path,group\na.jpg,"P\r1"\nb.jpg,"P\n2"\n'
    donors = from_table(content, tmp_path, "a.jpg", "b.jpg")
    write_table(pd.DataFrame({"id": ["a.jpg", "b.jpg"], "donor": donors}), tmp_path / "index.csv")
    assert read_index(tmp_path / "index.csv")["donor"].tolist() == donors == [r"P\r1", "P 2"]
