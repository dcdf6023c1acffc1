"""The space in which images are compared, fitted on the features of training images."""

from collections.abc import Mapping
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
    """Scaling and projections, fitted on training images, and the out-of-distribution score.

    Projections are those of all features, `both`, and where images have crops those of the whole
    image and of the crops.
    """

    scaling: Scaling
    columns: Mapping[str, slice]
    pcas: Mapping[str, PCA]
    novelty: Novelty

    def project(self, images: pd.DataFrame, embed: Path) -> tuple[dict[str, Points], Points]:
        """Return projected features (N, K) by part and distances (N,) of images, split by split.

        The features are read in blocks: those of a large set do not fit into memory.
        """
        points: dict[str, list[Points]] = {part: [] for part in self.columns}
        distances = list[Points]()
        for split, table in images.groupby("split", sort=False):
            for start in range(0, len(table), BLOCK):
                features = mean_features(table.iloc[start : start + BLOCK], str(split), embed)
                scaled = self.scaling(features)
                for part, columns in self.columns.items():
                    points[part].append(self.pcas[part].transform(scaled[:, columns]))
                distances.append(self.novelty(features))
        joined = {part: np.concatenate(blocks) for part, blocks in points.items()}
        return joined, np.concatenate(distances)


def fit_space(
    train: pd.DataFrame, embed: Path, novelty: Novelty, *, seed: int, crops: bool = False
) -> Space:
    """Fit the space on training images, a stratified sample of 5,000 if there are more.

    With crops, the first half of the features is that of the whole image.
    """
    table = train.iloc[stratified_sample(train, ["class"], most=FITTED, seed=seed)]
    features = mean_features(table, "train", embed)
    scaling, half = fit_scaling(features), features.shape[1] // 2
    scaled, columns = scaling(features), {"both": slice(None)}
    if crops:
        columns |= {"whole": slice(half), "crops": slice(half, None)}
    pcas = {part: fit_pca(scaled[:, inside], COMPONENTS) for part, inside in columns.items()}
    return Space(scaling, columns, pcas, novelty)


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
