"""How far a picture lies from the training images, in units of what is usual for new ones."""

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
# Share of the training images that lie closer than the limit to those of other donors.
WITHIN = 0.99


@dataclass(frozen=True)
class Training:
    """The training images as points, and the distance at which a picture is no longer like them."""

    scaling: Scaling
    pca: PCA
    neighbours: NearestNeighbors
    limit: float = 1.0

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the distance of each of (N, D) features, in units of the limit: float64 (N,)."""
        found, _ = self.neighbours.kneighbors(self.pca.transform(self.scaling(features)))
        return found.mean(axis=1) / self.limit


def fit_training_distance(
    features: NDArray[np.float32], groups: pd.Series, *, seed: int
) -> Training:
    """Learn from the training images what is usual.

    The distance is the mean to the five nearest of them, in the whitened first 64 principal
    components of the rooted, standardised features (nearest neighbours of deep features: Sun et
    al. 2022, arXiv 2204.06507). The limit is the 99th percentile of the distances of training
    images, each measured by what was learnt without its donor and a fifth of the others: every
    picture that comes later is of another donor, and components fit best what they were made from.

    The error analysis explains errors by `OutOfDistributionScore` of `tissue.error_analysis.space`
    instead: it disregards what tissue fraction, blur and stain explain, and has no limit.

    Args:
        features: float32 (N, D), mean of the views.
        groups: the donor, slide or cluster of each image (N,).
        seed: of the decomposition.
    """
    if len(groups) - groups.value_counts().max() < 2:
        # Nearly all of one donor: nothing is known about others.
        groups = pd.Series(range(len(groups)))
    folds = GroupKFold(min(FOLDS, groups.nunique())).split(features, groups=groups)
    held_out = [_fit(features[rest], seed).distances(features[fold]) for rest, fold in folds]
    limit = float(np.quantile(np.concatenate(held_out), WITHIN))
    return replace(_fit(features, seed), limit=limit)


def _fit(features: NDArray[np.float32], seed: int) -> Training:
    scale = fit_scaling(features)
    scaled = scale(features)
    count = min(OOD_COMPONENTS, len(scaled) - 1)
    pca = fit_pca(scaled, count, whiten=True, svd_solver="randomized", random_state=seed)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(scaled))).fit(pca.transform(scaled))
    return Training(scale, pca, near)
