"""Do training and test overlap? Measured, next to the same figure for random splits."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors


def neighbour_mixing(
    points: NDArray[np.float32],
    index: pd.DataFrame,
    *,
    neighbours: int,
    random_splits: int,
    seed: int,
) -> dict[str, Any]:
    """Measure how many of a test image's nearest neighbours are training images.

    The figure is the share of training images among the neighbours, divided by their share among
    all images: 1 is as mixed as can be, 0 is two sets that lie apart. Random splits move whole
    groups, since images of one donor lie close together in any case, and keep the number of test
    groups of each class.

    Args:
        points: features float32 (N, D) of training and test images.
        index: row i describes point i: `split` (train or test), `class`, `group`.
        neighbours: how many of each test image.
        random_splits: how many to draw.
        seed: of the random splits.

    Returns:
        The mixing of the real split; mean, 2.5 % and 97.5 % quantile of that of random ones; and
        the one-sided permutation p-value of a mixing this low.
    """
    count = min(neighbours, len(points) - 1)
    near = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)
    codes, _ = pd.factorize(index["group"], sort=True)
    is_test = (index["split"] == "test").to_numpy()
    groups = pd.DataFrame({"class": index["class"], "test": is_test}).groupby(codes).first()
    rng = np.random.default_rng(seed)
    draws = np.array([_mixing(near, _shuffled(groups, rng)[codes]) for _ in range(random_splits)])
    mixing = _mixing(near, is_test)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "real": mixing,
        "random_mean": float(draws.mean()),
        "random_low": float(low),
        "random_high": float(high),
        "p_value": float((1 + (draws <= mixing).sum()) / (1 + random_splits)),
    }


def _shuffled(groups: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.bool_]:
    shuffled = groups["test"].to_numpy().copy()
    for rows in groups.groupby("class").indices.values():
        shuffled[rows] = rng.permutation(shuffled[rows])
    return shuffled


def _mixing(near: NDArray[np.int64], is_test: NDArray[np.bool_]) -> float:
    chance = (~is_test).sum() / (len(is_test) - 1)
    return float((~is_test[near[is_test]]).mean() / chance)
