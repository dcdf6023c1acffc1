"""The spaces in which images are compared, both made from the features of training images."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from tissue.data.features import mean_features
from tissue.data.index import QUALITY, stratified_sample
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS, NEIGHBOURS

Points = NDArray[np.float64]

COMPONENTS = 128
OOD_COMPONENTS = 64
OOD_NEIGHBOURS = 20  # as recommended in the paper for sets of this size
COPY = 0.05  # share of the spread of all training images, within which two are the same picture
SMALLEST = 0.01  # added before logarithms of shares and densities
FITTED = 5_000  # training images
BLOCK = 2_048  # images whose features are in memory at once
REACH = 3.0  # standard deviations, beyond which a quality measure predicts no further change


class Scaling(NamedTuple):
    """Mean and standard deviation of the rooted features of training images, (D,) each."""

    mean: Points
    spread: Points

    def __call__(self, features: NDArray[np.float32]) -> Points:
        """Return features (N, D) rooted and standardised.

        Pooled activations are skewed counts of patterns; their root makes Euclidean distances
        those of Hellinger (Arandjelovic and Zisserman 2012, "Three things everyone should know").
        """
        # A feature that hardly varies says nothing; the small number keeps it from blowing up.
        return (_rooted(features) - self.mean) / (self.spread + 1e-3)


def fit_scaling(train: NDArray[np.float32]) -> Scaling:
    """Fit the scaling on the features (N, D) of training images."""
    rooted = _rooted(train)
    return Scaling(rooted.mean(axis=0), rooted.std(axis=0))


def _rooted(features: NDArray[np.float32]) -> Points:
    return np.sign(features) * np.sqrt(np.abs(features, dtype=np.float64))


def fit_projection(train: Points, *, seed: int) -> PCA:
    """Fit the first principal components, at most 128, on standardised features (N, D)."""
    return PCA(min(COMPONENTS, *train.shape), svd_solver="full", random_state=seed).fit(train)


class OutOfDistribution:
    """How far images lie from training images.

    The local outlier factor (Breunig et al. 2000): the distance to the nearest training images,
    over the distances of these to their own; 1 is as close as they are to each other. What the
    measured amount of tissue, blur and stain explain of the features is taken out before, by a
    quadratic regression on training images, since it would be most of every distance.
    """

    def __init__(self, train: Points, table: pd.DataFrame, *, seed: int) -> None:
        """Fit on training images.

        Args:
            train: their standardised features (N, D).
            table: their quality measures.
            seed: of the decomposition.
        """
        logs = log_quality(table)
        self._mean, self._spread = logs.mean(axis=0), logs.std(axis=0) + 1e-6
        self._explained = Ridge(1.0).fit(self._described(table), train)
        rest = self._rest(train, table)
        count = min(OOD_COMPONENTS, *rest.shape)
        self._pca = PCA(count, svd_solver="full", random_state=seed).fit(rest)
        points = _without_copies(self._pca.transform(rest))
        near = min(OOD_NEIGHBOURS, max(1, len(points) - 1))
        self._factor = LocalOutlierFactor(near, novelty=True).fit(points)

    def __call__(self, scaled: Points, table: pd.DataFrame) -> Points:
        """Return the distances (N,) of other images, from the same of them."""
        return -self._factor.score_samples(self._pca.transform(self._rest(scaled, table)))

    def _described(self, table: pd.DataFrame) -> Points:
        within = np.clip((log_quality(table) - self._mean) / self._spread, -REACH, REACH)
        return np.hstack([within, within**2])

    def _rest(self, scaled: Points, table: pd.DataFrame) -> Points:
        return scaled - self._explained.predict(self._described(table))


def _without_copies(points: Points) -> Points:
    """Keep one of each picture: more copies than neighbours lie at no distance from each other.

    Their density would be infinite, and all that is near them infinitely far.
    """
    radius = COPY * np.sqrt(points.var(axis=0).sum())
    near = NearestNeighbors(radius=radius).fit(points).radius_neighbors(return_distance=False)
    return points[[bool((rows > number).all()) for number, rows in enumerate(near)]]


class Space(NamedTuple):
    """What is fitted on training images, on some of them where there are many."""

    scale: Scaling
    components: PCA
    novelty: OutOfDistribution

    def blocks(
        self, table: pd.DataFrame, part: str, embed: Path
    ) -> Iterator[tuple[pd.DataFrame, Points]]:
        """Give the images of a part and their standardised features (N, D), some at a time.

        All at once, those of a large set do not fit into memory.
        """
        for start in range(0, len(table), BLOCK):
            rows = table.iloc[start : start + BLOCK]
            yield rows, self.scale(mean_features(rows, part, embed))

    def place(self, table: pd.DataFrame, part: str, embed: Path) -> tuple[Points, Points]:
        """Return projected features (N, K) and novelty (N,) of a part; of training, novelty 0."""
        points, novelty = list[Points](), list[Points]()
        for rows, scaled in self.blocks(table, part, embed):
            points.append(self.components.transform(scaled))
            # Training images are near to themselves.
            known = part == "train"
            novelty.append(np.zeros(len(rows)) if known else self.novelty(scaled, rows))
        return np.concatenate(points), np.concatenate(novelty)


def fit_space(train: pd.DataFrame, embed: Path, *, seed: int) -> Space:
    """Fit both spaces on training images, at most 5,000 with each class's share."""
    table = train.iloc[stratified_sample(train, ["class"], most=FITTED, seed=seed)]
    features = mean_features(table, "train", embed)
    scale = fit_scaling(features)
    scaled = scale(features)
    return Space(
        scale, fit_projection(scaled, seed=seed), OutOfDistribution(scaled, table, seed=seed)
    )


def log_quality(table: pd.DataFrame) -> Points:
    """Return the logarithms (N, 4) of the quality measures: equal steps are equal factors."""
    return np.log(table[QUALITY].to_numpy(np.float64) + SMALLEST)


def nearest_images(
    points: NDArray[np.float64], known: NDArray[np.float64], train: pd.DataFrame
) -> pd.DataFrame:
    """Return ids, classes and groups of the five nearest training images, nearest first.

    Euclidean, in the space of the projected features. Where training has fewer images than five,
    the last columns stay empty.

    Args:
        points: (N, K) of the images.
        known: (M, K) of the training images.
        train: their table, row i describes point i.
    """
    count = min(NEIGHBOURS, len(known))
    near = NearestNeighbors(n_neighbors=count).fit(known)
    # A model without errors has no image to look for, which scikit-learn does not take.
    rows = (
        near.kneighbors(points, return_distance=False)
        if len(points)
        else np.zeros((0, count), np.int64)
    )
    columns = {name: train[name].astype(str).to_numpy()[rows] for name in ("id", "class", "group")}
    table = pd.DataFrame("", index=range(len(points)), columns=list(NEIGHBOUR_COLUMNS))
    table.iloc[:, :count] = columns["id"]
    table["neighbour_classes"] = [" ".join(names) for names in columns["class"]]
    table["neighbour_groups"] = [" ".join(names) for names in columns["group"]]
    return table
