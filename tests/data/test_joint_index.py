"""The joint table of training and test that t-SNE maps."""

from pathlib import Path

import pandas as pd

from tissue.data.features import joint_index


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
