"""Where groups come from: the user's table or pattern, the source, file names, copies."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.config.schema import Split
from tissue.images.groups import add_known_groups, assign_groups, name_groups

ALONE = np.arange(4)
DEFAULT = load_params(Path(__file__).parents[2] / "params.yaml").split


def table_of(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": ["d", "c", "b", "a"], **columns})


def changed(**values: Any) -> Split:
    return Split.model_validate({**DEFAULT.model_dump(), **values})


def test_groups_are_donors_where_every_image_has_one():
    names, rule = name_groups(
        table_of(donor=["7", "7", "8", "9"], slide=["1", "2", "3", "4"]), ALONE
    )
    assert rule == "donor"
    assert names.tolist() == ["7", "7", "8", "9"]


def test_groups_are_slides_where_a_donor_is_missing():
    names, rule = name_groups(
        table_of(donor=["7", "", "8", "9"], slide=["1", "1", "3", "4"]), ALONE
    )
    assert rule == "slide"
    assert names.tolist() == ["1", "1", "3", "4"]


@pytest.mark.parametrize("columns", [{}, {"donor": [""] * 4, "slide": ["1", "", "3", "4"]}])
def test_groups_are_clusters_named_after_their_first_id_otherwise(columns):
    names, rule = name_groups(table_of(**columns), np.array([0, 1, 0, 2]))
    assert rule == "near-duplicate cluster"
    assert names.tolist() == ["b", "c", "b", "a"]


def test_atlas_file_names_hold_the_slide():
    index = pd.DataFrame(
        {"id": ["train/a/4821_A_3_5.jpg", "train/b/4821_B_1_2.jpg", "b/7_A_1_1.x"]}
    )
    names, rule = name_groups(index, np.arange(3))
    assert rule == "slide in file name"
    assert names.tolist() == ["4821", "4821", "7"]
    index.loc[1, "id"] = "train/b/4821_C_1_2.jpg"
    assert name_groups(index, np.arange(3))[1] == "near-duplicate cluster"


def test_pattern_goes_before_the_source_and_after_the_table(tmp_path: Path):
    index = pd.DataFrame(
        {"id": ["a/p1-x.jpg", "b/p1-y.jpg", "b/p2-x.jpg"], "donor": ["1", "2", "3"]}
    )
    given, rule = add_known_groups(index, changed(group_pattern=r"/(p\d+)-"))
    names, used = name_groups(given, np.arange(3), given=rule)
    assert used == "group_pattern"
    assert names.tolist() == ["p1", "p1", "p2"]
    path = tmp_path / "groups.csv"
    index.assign(path=index["id"], group=["u", "v", "v"])[["path", "group"]].to_csv(path)
    given, rule = add_known_groups(index, changed(group_pattern=r"/(p\d+)-", metadata=str(path)))
    names, used = name_groups(given, np.arange(3), given=rule)
    assert used == "metadata"
    assert names.tolist() == ["u", "v", "v"]


def test_pattern_that_misses_an_image_names_it():
    index = pd.DataFrame({"id": ["a/p1.jpg", "a/other.jpg"]})
    with pytest.raises(InputError, match=r"split\.group_pattern: .*nothing for 1, e\.g\. a/other"):
        add_known_groups(index, changed(group_pattern=r"/(p\d+)"))


@pytest.mark.parametrize("pattern", ["(", "no group", "(two)(groups)"])
def test_pattern_is_checked_before_anything_runs(pattern):
    with pytest.raises(ValueError, match="a regular expression"):
        changed(group_pattern=pattern)


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
    path = tmp_path / "groups.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        add_known_groups(pd.DataFrame({"id": ["é.jpg"]}), changed(metadata=str(path)))
    with pytest.raises(InputError, match=r"does not exist in /.* an absolute path"):
        add_known_groups(pd.DataFrame({"id": ["é.jpg"]}), changed(metadata="nowhere.csv"))
    with pytest.raises(InputError, match="which is a folder"):
        add_known_groups(pd.DataFrame({"id": ["é.jpg"]}), changed(metadata=str(tmp_path)))


def test_table_written_on_macos_names_the_same_images(tmp_path: Path):
    path = tmp_path / "groups.csv"
    path.write_text("path,group\ne\N{COMBINING ACUTE ACCENT}.jpg,1\n", encoding="utf-8")
    given, _ = add_known_groups(pd.DataFrame({"id": ["é.jpg"]}), changed(metadata=str(path)))
    assert given["donor"].tolist() == ["1"]


def test_donors_that_share_a_copy_become_one_group():
    group = assign_groups(pd.Series(["7", "8", "8", "9"]), np.array([0, 0, 1, 2]))
    assert group.tolist() == ["7", "7", "7", "9"]


def test_groups_keep_the_rows_of_any_index():
    names = pd.Series(["7", "7", "8", "9"], pd.Index([5, 3, 9, 1]))
    assert assign_groups(names, ALONE).index.tolist() == [5, 3, 9, 1]


@pytest.mark.parametrize(("one", "other"), [("P1", " P1"), ("é", "e\u0301")])
def test_a_space_or_another_spelling_makes_no_other_donor(one: str, other: str, tmp_path: Path):
    table = f"path,group\na.jpg,{one}\nb.jpg,{other}\n"
    (tmp_path / "groups.csv").write_text(table, encoding="utf-8")
    found, _ = add_known_groups(
        pd.DataFrame({"id": ["a.jpg", "b.jpg"]}), changed(metadata=str(tmp_path / "groups.csv"))
    )
    assert list(found["donor"]) == [one, one]
