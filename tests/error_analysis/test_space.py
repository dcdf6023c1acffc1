"""Projection, out-of-distribution scores and nearest training images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from tests.error_analysis.planted import planted_datasets
from tissue.error_analysis import space
from tissue.error_analysis.space import fit_space, nearest_images
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS


def test_large_set_is_projected_in_blocks_by_a_fit_on_some_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets, _ = planted_datasets(tmp_path)
    train, test = (datasets[name].index.assign(split=name) for name in ("train", "test"))
    whole = fit_space(train, tmp_path, seed=1).project(test, tmp_path)
    monkeypatch.setattr(space, "BLOCK", 7)
    blocks = fit_space(train, tmp_path, seed=1).project(test, tmp_path)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(space, "FITTED", 200)
    points, scores = fit_space(train, tmp_path, seed=1).project(test, tmp_path)
    assert len(points) == len(scores) == len(test)
    # Images far from all training images are far from a sample of them, too.
    assert spearmanr(scores, whole[1]).statistic > 0.7


def test_copies_in_training_move_no_image_far_away(tmp_path: Path) -> None:
    datasets, _ = planted_datasets(tmp_path)
    train, test = (datasets[name].index.assign(split=name) for name in ("train", "test"))
    _, before = fit_space(train, tmp_path, seed=1).project(test, tmp_path)
    features = np.load(tmp_path / "train.npy")
    noise = 1e-6 * np.random.default_rng(0).random((30, *features.shape[1:]))
    copies = features[:1] * (1 + noise)
    np.save(tmp_path / "train.npy", np.concatenate([features, copies.astype(np.float32)]))
    more = train.iloc[[0] * 30].assign(id=[f"copy/{i}" for i in range(30)])
    train = pd.concat([train, more], ignore_index=True)
    train[["id"]].to_csv(tmp_path / "train.csv", index=False)
    _, after = fit_space(train, tmp_path, seed=1).project(test, tmp_path)
    assert after.max() < 2 * before.max()


def test_fewer_training_images_than_neighbours() -> None:
    train = pd.DataFrame({"id": ["a", "b"], "class": ["x", "y"], "group": ["1", "2"]})
    near = nearest_images(np.zeros((1, 2)), np.array([[3.0, 0], [1, 0]]), train)
    assert near.loc[0, list(NEIGHBOUR_COLUMNS)].tolist() == ["b", "a", "", "", ""]
    assert near.loc[0, "neighbour_groups"] == "2 1"
