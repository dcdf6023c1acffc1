"""Points of many dimensions in few."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

COMPONENTS = 50


def principal_components(values: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Return the first 50 principal components, or as many as there are, of values (N, D)."""
    components = min(COMPONENTS, *values.shape)
    return PCA(components, svd_solver="full", random_state=seed).fit_transform(values)


def fit_tsne(points: NDArray[np.float32], *, perplexity: float, seed: int) -> NDArray[np.float32]:
    """Return t-SNE places (N, 2) of points (N, D), initialised by their first two components.

    Kobak and Berens 2019, s41467-019-13056-x: from there the map keeps the coarse arrangement.
    """
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)


def map_trustworthiness(
    points: NDArray[np.float32], places: NDArray[np.float32], *, neighbours: int
) -> float:
    """Return the trustworthiness of a map: 1 where neighbours in it are neighbours in fact.

    Venna and Kaski 2001. It is defined for fewer neighbours than half of the points.

    Args:
        points: what was mapped, (N, D).
        places: where it is on the map, (N, 2).
        neighbours: how many of each point.
    """
    count = max(1, min(neighbours, (len(points) - 1) // 2))
    return float(trustworthiness(points, places, n_neighbors=count))
