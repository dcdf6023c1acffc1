"""How far a picture lies from the training images, in units of what they are from each other."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from stages.errors.space import Scaling, scaling

COMPONENTS = 64
NEIGHBOURS = 5
# Share of the training images that lie closer to those of other donors than the limit.
WITHIN = 0.99


@dataclass(frozen=True)
class Training:
    """The training images as points, and the distance at which a picture is no longer like them."""

    scaling: Scaling
    pca: PCA
    neighbours: NearestNeighbors
    limit: float

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the distance of each of (N, D) features, in units of the limit: float64 (N,)."""
        points = self.pca.transform(self.scaling(features))
        found, _ = self.neighbours.kneighbors(points)
        return found.mean(axis=1) / self.limit


def learn(features: NDArray[np.float32], groups: pd.Series, *, seed: int) -> Training:
    """Learn from the training images what is usual.

    The distance is the mean to the five nearest of them, in the whitened first 64 principal
    components of the rooted, standardised features (nearest neighbours of deep features: Sun et
    al. 2022, arXiv 2204.06507; whitening: Lee et al. 2018, arXiv 1807.03888). The limit is the 99th
    percentile of their own distances, to images of other donors alone: every picture that comes
    later is of another donor.

    Args:
        features: float32 (N, D), mean of the views.
        groups: the donor, slide or cluster of each image (N,).
        seed: of the decomposition.
    """
    scale = scaling(features)
    scaled = scale(features)
    count = min(COMPONENTS, len(scaled) - 1, scaled.shape[1])
    pca = PCA(count, whiten=True, svd_solver="randomized", random_state=seed).fit(scaled)
    points = pca.transform(scaled)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(points))).fit(points)
    own = _to_other_groups(points, near, groups.to_numpy())
    return Training(scale, pca, near, float(np.quantile(own, WITHIN)))


def _to_other_groups(
    points: NDArray[np.float64], near: NearestNeighbors, groups: NDArray[np.object_]
) -> NDArray[np.float64]:
    largest = int(pd.Series(groups).value_counts().iloc[0])
    if largest == len(groups):
        # All of one donor: nothing is known about others.
        groups, largest = np.arange(len(points)).astype(object), 1
    reach = min(NEIGHBOURS + largest, len(points))
    found, rows = near.kneighbors(points, n_neighbors=reach)
    other = groups[rows] != groups[:, None]
    # Only the five nearest of them count; of a small set there may be fewer.
    other &= np.cumsum(other, axis=1) <= NEIGHBOURS
    return (found * other).sum(axis=1) / other.sum(axis=1)
