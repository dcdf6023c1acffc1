"""The space in which images are compared, fitted on the features of training images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from tissue.data.features import Scaling, fit_scaling, mean_features
from tissue.data.index import QUALITY, stratified_sample
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS, NEIGHBOURS
from tissue.metrics.projection import Points, fit_pca
from tissue.training.novelty import Novelty

COMPONENTS = 128
SMALLEST = 0.01  # added before logarithms of shares and densities
FITTED = 5_000  # training images at most
BLOCK = 2_048  # images whose features are in memory at once


class Space(NamedTuple):
    """Scaling and projection, fitted on training images, and the out-of-distribution score."""

    scaling: Scaling
    pca: PCA
    novelty: Novelty

    def project(self, images: pd.DataFrame, embed: Path) -> tuple[Points, Points]:
        """Return projected features (N, K) and distances (N,) of images, split by split.

        The features are read in blocks: those of a large set do not fit into memory.
        """
        points, distances = list[Points](), list[Points]()
        for split, table in images.groupby("split", sort=False):
            for start in range(0, len(table), BLOCK):
                features = mean_features(table.iloc[start : start + BLOCK], str(split), embed)
                points.append(self.pca.transform(self.scaling(features)))
                distances.append(self.novelty(features))
        return np.concatenate(points), np.concatenate(distances)


def fit_space(train: pd.DataFrame, embed: Path, novelty: Novelty, *, seed: int) -> Space:
    """Fit the space on training images, a stratified sample of 5,000 if there are more."""
    table = train.iloc[stratified_sample(train, ["class"], most=FITTED, seed=seed)]
    features = mean_features(table, "train", embed)
    scaling = fit_scaling(features)
    return Space(scaling, fit_pca(scaling(features), COMPONENTS), novelty)


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
