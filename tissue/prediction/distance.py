"""The out-of-distribution distance of a picture: how far it lies from the training images."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors

from tissue.error_analysis.space import OOD_COMPONENTS
from tissue.metrics.projection import Scaling, fit_pca, fit_scaling

NEIGHBOURS = 5
FOLDS = 5
WITHIN = 0.99  # share of the training images whose distance is below the limit


@dataclass(frozen=True)
class TrainingDistance:
    """The distance from the training images, in units of its limit."""

    scaling: Scaling
    pca: PCA
    neighbours: NearestNeighbors
    limit: float = 1.0

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the distances float64 (N,) of features (N, D)."""
        found, _ = self.neighbours.kneighbors(self.pca.transform(self.scaling(features)))
        return found.mean(axis=1) / self.limit


def fit_training_distance(
    features: NDArray[np.float32], groups: pd.Series, *, seed: int
) -> TrainingDistance:
    """Fit the distance and its limit on training images.

    The distance is the mean to the five nearest of them, in the whitened first 64 principal
    components of the rooted, standardised features (nearest neighbours of deep features: Sun et
    al. 2022, arXiv 2204.06507). The limit is the 99th percentile of the distances of training
    images, each from a fit without its donor and a fifth of the others, because new pictures are
    of other donors, too, and components fit best what they were fitted on.

    `features` are float32 (N, D), mean of the views; `groups` the group of each.
    The error analysis has another score, `OutOfDistributionScore`: it disregards what tissue
    fraction, blur and stain explain, and has no limit.
    """
    if len(groups) - groups.value_counts().max() < 2:
        # Nearly all images are of one donor: nothing is known about others.
        groups = pd.Series(range(len(groups)))
    folds = GroupKFold(min(FOLDS, groups.nunique())).split(features, groups=groups)
    held_out = [_fit(features[rest], seed)(features[fold]) for rest, fold in folds]
    limit = float(np.quantile(np.concatenate(held_out), WITHIN))
    return replace(_fit(features, seed), limit=limit)


def _fit(features: NDArray[np.float32], seed: int) -> TrainingDistance:
    scale = fit_scaling(features)
    scaled = scale(features)
    count = min(OOD_COMPONENTS, len(scaled) - 1)
    pca = fit_pca(scaled, count, whiten=True, svd_solver="randomized", random_state=seed)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(scaled))).fit(pca.transform(scaled))
    return TrainingDistance(scale, pca, near)
