"""Points of many dimensions projected to few: PCA and t-SNE."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

COMPONENTS = 50
Points = NDArray[np.float64]


def fit_pca(values: Points, components: int) -> PCA:
    """Fit at most this many principal components of values (N, D)."""
    return PCA(min(components, *values.shape), svd_solver="full").fit(values)


def principal_components(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first 50 principal components, or as many as there are, of values (N, D)."""
    return PCA(min(COMPONENTS, *values.shape), svd_solver="full").fit_transform(values)


def fit_tsne(points: NDArray[np.float32], *, perplexity: float, seed: int) -> NDArray[np.float32]:
    """Return t-SNE coordinates (N, 2) of points (N, D).

    Initialised by PCA, they keep the global arrangement (Kobak and Berens 2019, doi
    10.1038/s41467-019-13056-x).
    """
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)


def map_trustworthiness(
    points: NDArray[np.float32], coordinates: NDArray[np.float32], *, neighbours: int
) -> float:
    """Return the trustworthiness of the coordinates (N, 2) of points (N, D) on a map.

    It is 1 if no point has other neighbours on the map (Venna and Kaski 2001), and defined for
    fewer neighbours than half of the points.
    """
    count = max(1, min(neighbours, (len(points) - 1) // 2))
    return float(trustworthiness(points, coordinates, n_neighbors=count))
