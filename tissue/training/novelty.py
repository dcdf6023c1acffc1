"""How unlike the training images an image is: the out-of-distribution distance.

`predict` refuses images by it, `evaluate` counts them, and the error analysis names it as a cause.
`benchmarks/novelty.py` compares it with other scores.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import StratifiedGroupKFold

from tissue.common.errors import InputError
from tissue.data.features import Scaling, fit_scaling, mean_features
from tissue.data.index import stratified_sample
from tissue.training.model_file import NOVELTY, read_arrays

FITTED = 5_000  # images of each split at most
FOLDS = 5
REFUSED = 0.05  # share of images of the known classes, of other donors, beyond the limit
LEAST = 1e-6  # eigenvalue below which a direction tells no classes apart, as a share of the largest
TINY = 1e-6  # in units of scaled features, so that copies divide by no zero
Examples = tuple[NDArray[np.float32], NDArray[np.int64], pd.Series]
Points = NDArray[np.float64]


class Novelty(NamedTuple):
    """The distance to the nearest class, in units of its limit; see `fit_novelty`.

    Attributes:
        mean: of the rooted features (D,), as is `spread`, see `Scaling`.
        spread: their standard deviation.
        centres: means of the classes in scaled features (C, D).
        directions: linear discriminants (D, K), with unit covariance within classes.
        weights: of both squared distances (2,).
        limit: the distance that 95 % of the images of other donors do not exceed.
    """

    mean: Points
    spread: Points
    centres: Points
    directions: Points
    weights: Points = np.ones(2)
    limit: float = 1.0

    def __call__(self, features: NDArray[np.float32]) -> Points:
        """Return the distances float64 (N,) of features (N, D), means of the views.

        Above 1 an image is refused.
        """
        return np.sqrt(self.squares(features) @ self.weights) / self.limit

    def squares(self, features: NDArray[np.float32]) -> Points:
        """Return the squared distances (N, 2) to the nearest class: by discriminants, and by all.

        `features` are float32 (N, D).
        """
        scaled = Scaling(self.mean, self.spread)(features)
        pairs = ((scaled @ self.directions, self.centres @ self.directions), (scaled, self.centres))
        nearest = [cdist(*pair, "sqeuclidean").min(axis=1) for pair in pairs]
        return np.column_stack(nearest)


def fit_novelty_of(train: pd.DataFrame, val: pd.DataFrame, embed: Path, *, seed: int) -> Novelty:
    """Fit on the cached features of training and validation images, given by their tables.

    Of more than 5,000 in a split, a stratified sample is used.
    """
    examples = []
    for name, table in (("train", train), ("val", val)):
        some = table.iloc[stratified_sample(table, ["class"], most=FITTED, seed=seed)]
        features = mean_features(some, name, embed)
        examples.append((features, some["label"].to_numpy(np.int64), some["group"]))
    return fit_novelty(*examples, seed=seed)


def fit_novelty(train: Examples, val: Examples, *, seed: int) -> Novelty:
    """Fit the distance on training images, its weights and limit on training and validation.

    Two squared distances to the nearest class mean are added: the Mahalanobis distance (Lee et al.
    2018, arXiv 1807.03888) along Fisher's linear discriminants, with one covariance for all
    classes, shrunk (Ledoit and Wolf 2004); and the Euclidean distance of all scaled features, since
    few classes have few discriminants. Each is divided by its standard deviation. These deviations,
    and the limit, are those of training and validation images, each from a fit without its donor
    and a fifth of the others. An image whose class is in no other donor does not count there: to
    those fits it is foreign.

    Args:
        train: features float32 (N, D), means of the views; labels (N,); and donors (N,).
        val: likewise.
        seed: of the folds.
    """
    features, labels, donors = (np.concatenate(both) for both in zip(train, val, strict=True))
    squares = _held_out(features, labels, donors, seed)
    if len(squares) < 2:  # each class is of one donor: nothing is known about others
        squares = _held_out(features, labels, np.arange(len(labels)), seed)
    weights = 1 / np.maximum(squares.std(axis=0), TINY)
    limit = float(np.quantile(np.sqrt(squares @ weights), 1 - REFUSED))
    return _fit(*train[:2])._replace(weights=weights, limit=max(limit, TINY))


def _held_out(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray, seed: int
) -> Points:
    """Return the squared distances (M, 2) of images, each from a fit without its group."""
    folds = _squares_by_fold(features, labels, groups, seed)
    return np.concatenate([*folds, np.zeros((0, 2))])


def _squares_by_fold(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray, seed: int
) -> Iterator[Points]:
    folds = min(FOLDS, len(np.unique(groups)), np.bincount(labels).max())
    if folds < 2:
        return
    division = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for seen, unseen in division.split(features, labels, groups):
        known = unseen[np.isin(labels[unseen], labels[seen])]
        yield _fit(features[seen], labels[seen]).squares(features[known])


def _fit(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Novelty:
    scaling = fit_scaling(features)
    scaled = scaling(features)
    present, numbers = np.unique(labels, return_inverse=True)
    centres = np.stack([scaled[numbers == number].mean(axis=0) for number in range(len(present))])
    covariance, _ = ledoit_wolf(scaled - centres[numbers], assume_centered=True)
    covariance.flat[:: len(covariance) + 1] += TINY  # where each class is one image
    apart = centres - centres.mean(axis=0)
    # The discriminants span the inverse covariance times the centres.
    spanning = solve(covariance, apart.T, assume_a="pos")
    values, vectors = eigh(apart @ spanning)
    kept = values > LEAST * max(values.max(), LEAST)
    directions = spanning @ vectors[:, kept] / np.sqrt(values[kept])
    return Novelty(*scaling, centres, directions)


def read_novelty(path: Path) -> Novelty:
    """Read the distance from the file of the pretrained model.

    Raises:
        InputError: if the file holds none.
    """
    arrays = read_arrays(path, NOVELTY)
    if set(arrays) != set(Novelty._fields):
        raise InputError(
            f"{path}: expected a model saved with its distance from training. "
            f"Received: {', '.join(sorted(arrays)) or 'none'}. Run `dvc repro train_pretrained`."
        )
    values: dict[str, Any] = {name: array.astype(np.float64) for name, array in arrays.items()}
    return Novelty(**values | {"limit": float(values["limit"])})
