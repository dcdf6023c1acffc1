"""Out-of-distribution scores from the literature, on features of a frozen backbone.

All are larger for images that look foreign, and see the training images alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from tissue.data.features import fit_scaling

PENALTY = 0.03  # of the logistic regression, on half the squared coefficients beside the mean loss
PRINCIPAL = 64  # dimensions of the principal space
Points = NDArray[np.float64]
Score = Callable[[NDArray[np.float32]], Points]  # of features (N, views, D) to (N,)


def fit_scores(features: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Score]:
    """Fit all scores, by name, on features float32 (N, views, D) and labels (N,) from 0."""
    return {**_by_neighbours(features), **_by_gaussians(features, labels)} | _by_classifier(
        features, labels
    )


def _by_neighbours(features: NDArray[np.float32]) -> dict[str, Score]:
    """Sun et al. 2022, arXiv 2204.06507, and what this project used before."""
    mean = features.mean(axis=1)
    unit, scaling = normalize(mean), fit_scaling(mean)
    pca = PCA(PRINCIPAL, whiten=True, svd_solver="full").fit(scaling(mean))
    white = pca.transform(scaling(mean))

    def nearest(k: int) -> Score:
        return lambda x: np.sort(cdist(normalize(x.mean(axis=1)), unit), axis=1)[:, k - 1]

    return {
        "nearest neighbour, L2-normalised": nearest(1),
        "tenth neighbour, L2-normalised": nearest(10),
        "five neighbours, 64 whitened components": lambda x: np.sort(
            cdist(pca.transform(scaling(x.mean(axis=1))), white), axis=1
        )[:, :5].mean(axis=1),
    }


def _by_gaussians(features: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Score]:
    """Lee et al. 2018, arXiv 1807.03888, and Ren et al. 2021, arXiv 2106.09022."""
    mean = features.mean(axis=1)
    scaling = fit_scaling(mean)
    scaled = scaling(mean)
    centres = np.stack([scaled[labels == label].mean(axis=0) for label in np.unique(labels)])
    within, background = (
        ledoit_wolf(rest, assume_centered=True)[0] for rest in (scaled - centres[labels], scaled)
    )
    components = PCA(PRINCIPAL, svd_solver="full").fit(scaled).components_

    def squares(x: NDArray[np.float32], covariance: Points, points: Points) -> Points:
        z = scaling(x.mean(axis=1))
        solved = solve(covariance, np.concatenate([z, points]).T, assume_a="pos").T
        whole, to = (z * solved[: len(z)]).sum(axis=1), z @ solved[len(z) :].T
        own = (points * solved[len(z) :]).sum(axis=1)
        return (whole[:, None] - 2 * to + own).min(axis=1)

    def residual(x: NDArray[np.float32]) -> Points:
        z = scaling(x.mean(axis=1))
        return np.linalg.norm(z - z @ components.T @ components, axis=1)

    origin = np.zeros((1, mean.shape[1]))
    return {
        "Mahalanobis": lambda x: squares(x, within, centres),
        "relative Mahalanobis": lambda x: (
            squares(x, within, centres) - squares(x, background, origin)
        ),
        "residual of 64 components": residual,
    }


def _by_classifier(features: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Score]:
    """Softmax (Hendrycks and Gimpel 2017, 1610.02136), energy (Liu et al. 2020, 2010.03759), ViM
    (Wang et al. 2022, 2203.10807), and how far the views disagree, of logistic regression.
    """
    mean = features.mean(axis=1).astype(np.float64)
    centre, spread = mean.mean(axis=0), mean.std(axis=0)
    spread = spread + 0.01 * spread.mean()
    scaled = (mean - centre) / spread
    # Ridge penalties act in the span of the images alone, which has fewer dimensions.
    left, size, right = np.linalg.svd(scaled, full_matrices=False)
    model = LogisticRegression(C=1 / (PENALTY * len(mean)), max_iter=300).fit(left * size, labels)
    weights, bias = model.coef_ @ right, model.intercept_
    if len(weights) == 1:
        weights, bias = np.vstack([-weights, weights]) / 2, np.append(-bias, bias) / 2

    def logits(x: NDArray) -> Points:
        return ((x - centre) / spread) @ weights.T + bias

    def probabilities(x: NDArray[np.float32]) -> Points:
        return softmax(logits(x), axis=-1)

    origin = -np.linalg.pinv(weights) @ bias
    principal = np.linalg.svd(scaled - origin, full_matrices=False)[2][:PRINCIPAL]

    def outside(x: Points) -> Points:
        shifted = (x - centre) / spread - origin
        return np.linalg.norm(shifted - shifted @ principal.T @ principal, axis=1)

    alpha = logits(mean).max(axis=1).mean() / outside(mean).mean()

    def disagreement(x: NDArray[np.float32]) -> Points:
        each = probabilities(x)
        return np.abs(each - each.mean(axis=1, keepdims=True)).sum(axis=2).mean(axis=1)

    def energy(x: NDArray[np.float32]) -> Points:
        return -logsumexp(logits(x.mean(axis=1)), axis=1)

    return {
        "largest softmax": lambda x: -probabilities(x).mean(axis=1).max(axis=1),
        "energy": energy,
        "ViM, 64 dimensions": lambda x: alpha * outside(x.mean(axis=1)) + energy(x),
        "views disagree": disagreement,
    }
