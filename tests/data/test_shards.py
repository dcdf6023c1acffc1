"""Arrays in several files are read as one array."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tissue.common.errors import InputError
from tissue.data.index import read_split
from tissue.data.shards import (
    RowSelection,
    Shards,
    read_array,
    read_rows,
    shard_path,
    shard_slices,
)


def write_shards(path: Path, values: np.ndarray, shard_size: int) -> None:
    for number, rows in enumerate(shard_slices(len(values), shard_size)):
        np.save(shard_path(path, number), values[rows])


@given(st.integers(0, 30), st.integers(1, 12), st.data())
def test_any_rows_are_those_of_the_whole(count: int, shard_size: int, data: st.DataObject) -> None:
    whole = np.arange(count * 6).reshape(count, 2, 3)
    shards = Shards([whole[rows] for rows in shard_slices(count, shard_size)])
    assert (len(shards), shards.shape, shards.dtype) == (count, whole.shape, whole.dtype)
    rows = st.integers(-count, count - 1) if count else st.nothing()
    chosen = np.array(data.draw(st.lists(rows) if count else st.just([])), np.int64)
    assert np.array_equal(shards[chosen], whole[chosen])
    some = data.draw(st.slices(count))
    assert np.array_equal(shards[some], whole[some])
    assert [row.tolist() for row in shards] == whole.tolist()
    assert np.array_equal(shards.reshape(-1, 3)[:], whole.reshape(-1, 3))
    for row in chosen:
        assert np.array_equal(shards[int(row)], whole[row])
    for outside in (count, -count - 1):
        with pytest.raises(IndexError):
            shards[outside]
        with pytest.raises(IndexError):
            shards[np.array([outside])]


def test_one_file_is_a_plain_memory_map_under_its_usual_name(tmp_path: Path) -> None:
    write_shards(tmp_path / "train.npy", np.zeros((20, 2), np.uint8), 20)
    assert [path.name for path in tmp_path.iterdir()] == ["train.npy"]
    assert isinstance(read_array(tmp_path / "train.npy"), np.memmap)


def test_several_files_are_memory_mapped_and_never_read_whole(tmp_path: Path) -> None:
    write_shards(tmp_path / "train.npy", np.zeros((5, 2), np.uint8), 2)
    write_shards(tmp_path / "train_crops.npy", np.zeros((5, 3, 2), np.uint8), 2)
    names = sorted(path.name for path in tmp_path.glob("train.*"))
    assert names == ["train.1.npy", "train.2.npy", "train.npy"]
    array = read_array(tmp_path / "train.npy")
    assert isinstance(array, Shards)
    assert array.shape == (5, 2)
    assert all(isinstance(part, np.memmap) for part in array.parts)
    with pytest.raises(TypeError, match=r"3 files\. .*split\.shard_size"):
        np.asarray(array)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.1.npy": None}, r"train\.1\.npy: expected an array, since train\.2\.npy exists"),
        ({"train.1.npy": 1}, r"train\.1\.npy: expected 2 rows, as in train\.npy\. Received: 1"),
        ({"train.2.npy": 3}, r"train\.2\.npy: expected at most 2 rows.* Received: 3"),
        ({"train.2.npy": 0}, r"train\.2\.npy: expected at most 2 rows.* Received: 0"),
        ({"train.2.npy": None}, r"as many rows as its table, 5\. Received: the shape \(4"),
        ({"train.3.npy": 1}, r"train\.2\.npy: expected 2 rows"),
    ],
)
def test_files_that_do_not_fit_are_named(
    changes: dict[str, int | None], message: str, tmp_path: Path
) -> None:
    write_shards(tmp_path / "train.npy", np.zeros((5, 2, 2, 3), np.uint8), 2)
    table = pd.DataFrame({"id": list("abcde"), "label": 0, "class": "a"})
    table.to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "classes.json").write_text('["a"]')
    assert len(read_split(tmp_path, "train").images) == 5
    for name, rows in changes.items():
        if rows is None:
            (tmp_path / name).unlink()
        else:
            np.save(tmp_path / name, np.zeros((rows, 2, 2, 3), np.uint8))
    with pytest.raises(InputError, match=message):
        read_split(tmp_path, "train")


def test_rows_of_another_shape_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.uint8))
    np.save(tmp_path / "a.1.npy", np.zeros((2, 4), np.uint8))
    with pytest.raises(InputError, match=r"a\.1\.npy: expected rows \(3,\) of uint8.*\(4,\)"):
        read_array(tmp_path / "a.npy")


def test_selected_rows_are_read_when_they_are_indexed() -> None:
    array = np.arange(6)
    selected = RowSelection(array, np.array([4, 2]))
    array[2] = 7
    assert selected[:].tolist() == [4, 7]
    assert [int(row) for row in selected] == [4, 7]


def test_rows_are_read_from_a_file_that_cannot_be_mapped(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(10, 2, 3)
    np.save(tmp_path / "a.npy", array)
    for rows in (slice(0, 10), slice(3, 5), slice(9, 10)):
        read = read_rows((tmp_path / "a.npy").open("rb"), rows)
        assert read.dtype == array.dtype
        assert np.array_equal(read, array[rows])
