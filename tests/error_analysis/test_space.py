"""Projection, distances from training and nearest training images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.error_analysis.planted import fitted, planted_datasets
from tissue.error_analysis import space
from tissue.error_analysis.space import fit_space, nearest_images
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS


def test_large_set_is_projected_in_blocks_by_a_fit_on_some_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets, _ = planted_datasets(tmp_path)
    novelty = fitted(datasets, tmp_path)
    train, test = (datasets[name].index.assign(split=name) for name in ("train", "test"))
    whole = fit_space(train, tmp_path, novelty, seed=1).project(test, tmp_path)
    monkeypatch.setattr(space, "BLOCK", 7)
    blocks = fit_space(train, tmp_path, novelty, seed=1).project(test, tmp_path)
    np.testing.assert_allclose(whole[0]["both"], blocks[0]["both"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole[1], blocks[1], rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(space, "FITTED", 200)
    points, distances = fit_space(train, tmp_path, novelty, seed=1).project(test, tmp_path)
    assert len(points["both"]) == len(distances) == len(test)


def test_fewer_training_images_than_neighbours() -> None:
    train = pd.DataFrame({"id": ["a", "b"], "class": ["x", "y"], "group": ["1", "2"]})
    near = nearest_images(np.zeros((1, 2)), np.array([[3.0, 0], [1, 0]]), train)
    assert near.loc[0, list(NEIGHBOUR_COLUMNS)].tolist() == ["b", "a", "", "", ""]
    assert near.loc[0, "neighbour_groups"] == "2 1"
