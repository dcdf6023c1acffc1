"""The space in which images are compared, fitted on the features of training images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from tissue.data.features import mean_features
from tissue.data.index import QUALITY, stratified_sample
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS, NEIGHBOURS
from tissue.metrics.projection import Points, Scaling, fit_pca, fit_scaling

COMPONENTS = 128
OOD_COMPONENTS = 64
OOD_NEIGHBOURS = 20  # as recommended in the paper for sets of this size
COPY = 0.05  # share of the spread of all training images within which two images are copies
SMALLEST = 0.01  # added before logarithms of shares and densities
FITTED = 5_000  # training images at most
BLOCK = 2_048  # images whose features are in memory at once
REACH = 3.0  # standard deviations beyond which a quality measure predicts no further change


class OutOfDistributionScore:
    """How far images lie from training images, beyond what their quality explains.

    The local outlier factor (Breunig et al. 2000): the distance to the nearest training images,
    divided by the distance of these to their own nearest; at 1 an image is as near as they are to
    each other. Tissue fraction, blur and stain are causes of their own in the error analysis, and
    would dominate every distance. So a quadratic regression, fitted on training images, removes
    from the features what they explain.

    `predict` refuses images by the out-of-distribution distance of `tissue.prediction.distance`
    instead: it counts every difference from training, and has a limit.
    """

    def __init__(self, train: Points, quality: pd.DataFrame) -> None:
        """Fit on standardised features (N, D) of training images and their quality measures."""
        logs = log_quality(quality)
        self._mean, self._spread = logs.mean(axis=0), logs.std(axis=0) + 1e-6
        self._regression = Ridge(1.0).fit(self._predictors(quality), train)
        residuals = self._residuals(train, quality)
        self._pca = fit_pca(residuals, OOD_COMPONENTS)
        points = _without_copies(self._pca.transform(residuals))
        near = min(OOD_NEIGHBOURS, max(1, len(points) - 1))
        self._factor = LocalOutlierFactor(near, novelty=True).fit(points)

    def __call__(self, scaled: Points, quality: pd.DataFrame) -> Points:
        """Return the scores (N,) of images that are not in training."""
        return -self._factor.score_samples(self._pca.transform(self._residuals(scaled, quality)))

    def _predictors(self, quality: pd.DataFrame) -> Points:
        logs = np.clip((log_quality(quality) - self._mean) / self._spread, -REACH, REACH)
        return np.hstack([logs, logs**2])

    def _residuals(self, scaled: Points, quality: pd.DataFrame) -> Points:
        return scaled - self._regression.predict(self._predictors(quality))


def _without_copies(points: Points) -> Points:
    """Keep one of each group of copies: many make the density, and the scores nearby, infinite."""
    radius = COPY * np.sqrt(points.var(axis=0).sum())
    near = NearestNeighbors(radius=radius).fit(points).radius_neighbors(return_distance=False)
    return points[[bool((rows > number).all()) for number, rows in enumerate(near)]]


class Space(NamedTuple):
    """Scaling, projection and out-of-distribution score, fitted on training images."""

    scaling: Scaling
    pca: PCA
    score: OutOfDistributionScore

    def project(self, images: pd.DataFrame, embed: Path) -> tuple[Points, Points]:
        """Return projected features (N, K) and scores (N,) of images, one split after the other.

        The features are read in blocks: those of a large set do not fit into memory.
        """
        points, scores = list[Points](), list[Points]()
        for split, table in images.groupby("split", sort=False):
            for start in range(0, len(table), BLOCK):
                rows = table.iloc[start : start + BLOCK]
                scaled = self.scaling(mean_features(rows, str(split), embed))
                points.append(self.pca.transform(scaled))
                # The score of training images is 0: they are their own nearest neighbours.
                in_training = split == "train"
                scores.append(np.zeros(len(rows)) if in_training else self.score(scaled, rows))
        return np.concatenate(points), np.concatenate(scores)


def fit_space(train: pd.DataFrame, embed: Path, *, seed: int) -> Space:
    """Fit the space on training images, a stratified sample of 5,000 if there are more."""
    table = train.iloc[stratified_sample(train, ["class"], most=FITTED, seed=seed)]
    features = mean_features(table, "train", embed)
    scaling = fit_scaling(features)
    scaled = scaling(features)
    return Space(scaling, fit_pca(scaled, COMPONENTS), OutOfDistributionScore(scaled, table))


def log_quality(table: pd.DataFrame) -> Points:
    """Return the logarithms (N, 4) of the quality measures: equal steps are equal factors."""
    return np.log(table[QUALITY].to_numpy(np.float64) + SMALLEST)


def nearest_images(points: Points, train_points: Points, train: pd.DataFrame) -> pd.DataFrame:
    """Return ids, classes and groups of the five nearest training images, nearest first.

    `points` (N, K) and `train_points` (M, K) are projected features. Columns stay empty if there
    are fewer than five training images.
    """
    count = min(NEIGHBOURS, len(train_points))
    rows = np.zeros((0, count), np.int64)
    if len(points):  # a model may have no errors
        near = NearestNeighbors(n_neighbors=count).fit(train_points)
        rows = near.kneighbors(points, return_distance=False)
    ids, classes, groups = (
        train[name].astype(str).to_numpy()[rows] for name in ("id", "class", "group")
    )
    table = pd.DataFrame(ids, columns=list(NEIGHBOUR_COLUMNS[:count]))
    table = table.reindex(columns=list(NEIGHBOUR_COLUMNS), fill_value="")
    table["neighbour_classes"] = [" ".join(names) for names in classes]
    table["neighbour_groups"] = [" ".join(names) for names in groups]
    return table
