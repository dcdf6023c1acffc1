"""Files that appear whole or not at all, and tables that are joined on ids."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tissue.common.errors import InputError
from tissue.common.files import atomic_write, write_json, write_table
from tissue.data.index import locate_rows, read_array, read_classes, read_index, read_split


def listing(folder: Path) -> list[str]:
    """Names of everything below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write_folder(path: Path, content: str) -> None:
    path.mkdir()
    (path / "inside").write_text(content)


class TestReplacing:
    def test_file_appears_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "new/folder/a.txt"
        with atomic_write(path) as partial:
            partial.write_text("whole")
            assert not path.exists()
            assert partial.parent == path.parent  # the same disk, so that it can be moved
        assert path.read_text() == "whole"
        assert listing(path.parent) == ["a.txt"]

    def test_old_file_is_there_until_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")
        with atomic_write(path) as partial:
            partial.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    def test_folder_takes_the_place_of_a_folder_with_nothing_left_of_it(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "out"
        write_folder(path, "old")
        (path / "gone").write_text("x")
        with atomic_write(path) as partial:
            write_folder(partial, "new")
            assert (path / "inside").read_text() == "old"
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (path / "inside").read_text() == "new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_error_leaves_what_was_there(
        self, kind: str, error: type[BaseException], tmp_path: Path
    ) -> None:
        path = tmp_path / "out"
        write_folder(path, "old")

        def fail() -> None:
            with atomic_write(path) as partial:
                if kind == "file":
                    partial.write_text("half")
                else:
                    write_folder(partial, "half")
                raise error

        with pytest.raises(error):
            fail()
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (path / "inside").read_text() == "old"

    def test_error_where_nothing_was(self, tmp_path: Path) -> None:
        def fail() -> None:
            with atomic_write(tmp_path / "out") as partial:
                partial.write_text("half")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert listing(tmp_path) == []

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_nothing_written_is_an_error_and_loses_nothing(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "out"
        if kind == "file":
            path.write_text("old")
        else:
            write_folder(path, "old")
        before = listing(tmp_path)
        with pytest.raises(FileNotFoundError), atomic_write(path):
            pass
        assert listing(tmp_path) == before

    def test_folder_never_gives_way_to_a_file(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "out", "old")
        for write in (
            lambda path: write_table(pd.DataFrame({"a": [1]}), path),
            lambda path: write_json({"a": 1}, path),
        ):
            with pytest.raises(IsADirectoryError):
                write(tmp_path / "out")
        assert listing(tmp_path) == ["out", "out/inside"]

    @pytest.mark.parametrize("leftover", ["file", "folder"])
    def test_leftovers_of_a_killed_run_are_removed(self, leftover: str, tmp_path: Path) -> None:
        path = tmp_path / "out"
        for name in (".out.partial", ".out.previous"):
            if leftover == "file":
                (tmp_path / name).write_text("killed")
            else:
                write_folder(tmp_path / name, "killed")
        with atomic_write(path) as partial:
            assert not partial.exists()
            write_folder(partial, "new")
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (path / "inside").read_text() == "new"

    def test_run_killed_between_two_moves_is_undone_by_one_that_fails(self, tmp_path: Path) -> None:
        write_folder(tmp_path / ".out.previous", "old")
        with pytest.raises(ValueError, match="no"), atomic_write(tmp_path / "out"):
            raise ValueError("no")
        assert listing(tmp_path) == ["out", "out/inside"]
        assert (tmp_path / "out/inside").read_text() == "old"


class TestWriting:
    def test_json_is_sorted_and_rounded(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        write_json({"b": {"d": 0.123456, "c": 1}, "a": np.float64(2 / 3)}, path)
        assert path.read_text() == (
            '{\n  "a": 0.6667,\n  "b": {\n    "c": 1,\n    "d": 0.1235\n  }\n}\n'
        )

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -np.inf, np.float64("nan")])
    def test_json_refuses_what_is_not_finite(self, number: float, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        write_json({"old": 1}, path)
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json({"a": {"b": number}}, path)
        assert json.loads(path.read_text()) == {"old": 1}
        assert listing(tmp_path) == ["a.json"]

    def test_table_has_fixed_numbers_and_line_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        table = pd.DataFrame({"id": ["b", "a"], "x": [1 / 3, 1e-7], "n": [1, 2], "s": ["", "é,"]})
        write_table(table, path)
        assert path.read_bytes() == 'id,x,n,s\nb,0.333333,1,\na,1e-07,2,"é,"\n'.encode()


def make_part(folder: Path, ids: list[str], **columns: Any) -> pd.DataFrame:
    """Write a part as `split` does."""
    index = pd.DataFrame(
        {"id": ids, "class": "a", "label": 0, "group": "g", "sha256": "0", "donor": "", **columns}
    )
    np.save(folder / "train.npy", np.arange(len(ids) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3))
    write_table(index, folder / "train.csv")
    return index


class TestReading:
    def test_part_is_memory_mapped_and_its_labels_are_numbers(self, tmp_path: Path) -> None:
        make_part(tmp_path, ["x", "y"], label=[1, 0])
        part = read_split(tmp_path, "train")
        assert isinstance(part.images, np.memmap)
        assert part.images.shape == (2, 2, 2, 3)
        assert part.labels.dtype == np.int64
        assert list(part.labels) == [1, 0]

    def test_array_and_table_of_different_length(self, tmp_path: Path) -> None:
        make_part(tmp_path, ["x", "y"])
        np.save(tmp_path / "train.npy", np.zeros((3, 2, 2, 3), np.uint8))
        with pytest.raises(InputError, match=r"train\.npy: .* as its table, 2\. Received: 3"):
            read_split(tmp_path, "train")

    def test_names_that_look_like_something_else_stay_text(self, tmp_path: Path) -> None:
        names = ["007", "1e5", "nan", "NA", "None", "True", "", "null"]
        texts = dict.fromkeys(("id", "class", "group", "donor", "slide", "antibody"), names)
        write_table(pd.DataFrame({**texts, "label": range(8)}), tmp_path / "a.csv")
        index = read_index(tmp_path / "a.csv")
        for column in texts:
            assert list(index[column]) == names
        assert list(index["label"]) == list(range(8))

    def test_pickled_objects_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
        with pytest.raises(ValueError, match="Python objects"):
            read_array(tmp_path / "a.npy")

    def test_classes_keep_their_order(self, tmp_path: Path) -> None:
        (tmp_path / "classes.json").write_text('["liver", "colon", "ä"]', encoding="utf-8")
        assert read_classes(tmp_path) == ["liver", "colon", "ä"]


class TestRowsOf:
    def test_any_order_is_joined_on_ids(self) -> None:
        rng = np.random.default_rng(4)
        ids = pd.Series([f"train/a/{number}.png" for number in range(50)])
        shuffled = pd.DataFrame({"id": rng.permutation(ids), "other": 1})
        rows = locate_rows(ids, shuffled, what="x")
        assert list(shuffled["id"].to_numpy()[rows]) == list(ids)
        assert list(rows) != list(range(50))

    def test_more_rows_than_asked_for(self) -> None:
        index = pd.DataFrame({"id": ["c", "a", "b"]})
        assert list(locate_rows(pd.Series(["b", "c"]), index, what="x")) == [2, 0]

    def test_missing_id_is_named(self) -> None:
        index = pd.DataFrame({"id": ["a", "b"]})
        ids = pd.Series(["b", "gone", "lost"], index=[7, 8, 9])
        with pytest.raises(InputError, match=r"data/embed: expected a row for gone\. .*dvc repro"):
            locate_rows(ids, index, what="data/embed")
