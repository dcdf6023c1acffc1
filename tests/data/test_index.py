"""Tables of images, the arrays that they describe, and joins on ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.data.index import locate_rows, read_classes, read_index, read_split, unequal_classes
from tissue.data.shards import read_array


def write_split(folder: Path, ids: list[str], **columns: Any) -> None:
    """Write the training set as `split` does."""
    np.save(folder / "train.npy", np.zeros((len(ids), 2, 2, 3), np.uint8))
    table = pd.DataFrame({"id": ids, "label": 0, "class": "a", **columns})
    write_table(table, folder / "train.csv")
    write_json(["a", "b"], folder / "classes.json")


class TestReading:
    def test_a_split_is_memory_mapped_and_its_labels_are_numbers(self, tmp_path: Path) -> None:
        write_split(tmp_path, ["x", "y"], **{"label": [1, 0], "class": ["b", "a"]})
        dataset = read_split(tmp_path, "train")
        assert isinstance(dataset.images, np.memmap)
        assert dataset.images.shape == (2, 2, 2, 3)
        assert dataset.labels.dtype == np.int64
        assert list(dataset.labels) == [1, 0]

    @pytest.mark.parametrize("name", ["train", "train_crops"])
    def test_array_and_table_of_different_length(self, name: str, tmp_path: Path) -> None:
        write_split(tmp_path, ["x", "y"])
        np.save(tmp_path / f"{name}.npy", np.zeros((3, 2, 2, 3), np.uint8))
        with pytest.raises(InputError, match=rf"{name}\.npy: .* as its table, 2\. .* shape \(3"):
            read_split(tmp_path, "train")

    @pytest.mark.parametrize(
        ("ids", "columns", "message"),
        [
            (["x", "x"], {}, "ids that repeat"),
            (["x", "y"], {"label": [0, 1]}, "labels other than the 2 of classes.json"),
            (["x", "y"], {"label": ["0", "a"]}, "labels other than the 2 of classes.json"),
        ],
    )
    def test_a_table_that_was_changed(
        self, ids: list[str], columns: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        write_split(tmp_path, ids, **columns)
        with pytest.raises(InputError, match=rf"train\.(csv|npy): expected it as .*{message}"):
            read_split(tmp_path, "train")

    def test_arrays_of_another_kind(self, tmp_path: Path) -> None:
        write_split(tmp_path, ["x", "y"])
        np.save(tmp_path / "train.npy", np.zeros((2, 3), np.float32))
        with pytest.raises(InputError, match=r"expected 4 dimensions .* shape \(2, 3"):
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


class TestLocateRows:
    def test_rows_in_any_order_are_joined_on_ids(self) -> None:
        rng = np.random.default_rng(4)
        ids = pd.Series([f"train/a/{number}.png" for number in range(50)])
        shuffled = pd.DataFrame({"id": rng.permutation([*ids, "more"])})
        rows = locate_rows(ids, shuffled, what="x")
        assert list(shuffled["id"].to_numpy()[rows]) == list(ids)

    def test_a_missing_id_is_named(self) -> None:
        index = pd.DataFrame({"id": ["a", "b"]})
        ids = pd.Series(["b", "gone", "lost"], index=[7, 8, 9])
        with pytest.raises(InputError, match=r"data/embed: expected a row for gone\. .*dvc repro"):
            locate_rows(ids, index, what="data/embed")


def test_classes_beyond_three_to_one_are_called_unequal() -> None:
    assert unequal_classes({"fewest": 16, "most": 48}) == ""
    said = unequal_classes({"fewest": 15, "most": 48})
    assert said.startswith(
        "classes are unequal: the smallest has 15 training images, the largest 48"
    )
