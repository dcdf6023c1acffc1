"""Cached features are joined on ids, their views become rows, and large sets are sampled."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.test_shards import write_shards
from tissue.data.features import joint_index, mean_features, read_features

VALUES = np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 4)


@pytest.mark.parametrize("shard_size", [2, 9])
def test_features_are_joined_on_ids(shard_size: int, tmp_path: Path) -> None:
    for name, values in {"val": VALUES, "more": -VALUES[:, :2]}.items():
        write_shards(tmp_path / f"{name}.npy", values, shard_size)
        pd.DataFrame({"id": list("abcde")}).to_csv(tmp_path / f"{name}.csv", index=False)
    ids, expected = pd.Series(["d", "a", "e"]), VALUES[[3, 0, 4]]
    features = read_features(ids, "val", tmp_path)
    assert features.shape == (3, 3, 4)
    assert np.array_equal(features[:], expected)
    assert np.array_equal(
        mean_features(pd.DataFrame({"id": ids}), "val", tmp_path), expected.mean(axis=1)
    )


def test_large_sets_are_sampled_by_class_and_split(tmp_path: Path) -> None:
    for split, count in (("train", 300), ("test", 100)):
        ids = [f"{split}/{name}/{i}" for name in ("a", "b") for i in range(count)]
        table = pd.DataFrame({"id": ids, "class": ["a"] * count + ["b"] * count})
        table.to_csv(tmp_path / f"{split}.csv", index=False)
    whole = joint_index(tmp_path, max_images=800, seed=1)
    some = joint_index(tmp_path, max_images=80, seed=1)
    assert len(whole) == 800
    assert some.groupby(["split", "class"]).size().tolist() == [10, 10, 30, 30]
    assert some["id"].is_unique
    assert joint_index(tmp_path, max_images=80, seed=1).equals(some)
    assert not joint_index(tmp_path, max_images=80, seed=2).equals(some)
