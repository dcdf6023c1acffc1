"""The spaces in which images are compared, both made from the features of training images."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import LocalOutlierFactor

from stages.dataset.index import QUALITY

Points = NDArray[np.float64]

COMPONENTS = 128
NOVELTY_COMPONENTS = 64
NOVELTY_NEIGHBOURS = 20  # as recommended in the paper for sets of this size
SMALLEST = 0.01  # added before logarithms of shares and densities
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


def scaling(train: NDArray[np.float32]) -> Scaling:
    """Fit the scaling on the features (N, D) of training images."""
    rooted = _rooted(train)
    return Scaling(rooted.mean(axis=0), rooted.std(axis=0))


def _rooted(features: NDArray[np.float32]) -> Points:
    return np.sign(features) * np.sqrt(np.abs(features, dtype=np.float64))


def project(scaled: dict[str, Points], *, seed: int) -> dict[str, Points]:
    """Return the first principal components of `train` for all parts, at most 128.

    Args:
        scaled: by part, standardised features (N, D); `train` is one of them.
        seed: of the decomposition.
    """
    count = min(COMPONENTS, *scaled["train"].shape)
    pca = PCA(count, svd_solver="full", random_state=seed).fit(scaled["train"])
    return {part: pca.transform(values) for part, values in scaled.items()}


def novelty(
    scaled: dict[str, Points], tables: dict[str, pd.DataFrame], *, seed: int
) -> dict[str, Points]:
    """Return how far each image lies from the training images, (N,) by part but for `train`.

    The local outlier factor (Breunig et al. 2000): the distance to the nearest training images,
    over the distances of these to their own; 1 is as close as they are to each other. What the
    measured amount of tissue, blur and stain explain of the features is taken out before, by a
    quadratic regression on training images, since it would be most of every distance.

    Args:
        scaled: by part, standardised features (N, D); `train` is one of them.
        tables: by part, the table of images with the quality measures.
        seed: of the decomposition.
    """
    logs = {part: log_quality(table) for part, table in tables.items()}
    mean, spread = logs["train"].mean(axis=0), logs["train"].std(axis=0) + 1e-6

    def described(part: str) -> Points:
        within = np.clip((logs[part] - mean) / spread, -REACH, REACH)
        return np.hstack([within, within**2])

    explained = Ridge(1.0).fit(described("train"), scaled["train"])
    rest = {part: values - explained.predict(described(part)) for part, values in scaled.items()}
    count = min(NOVELTY_COMPONENTS, *rest["train"].shape)
    pca = PCA(count, svd_solver="full", random_state=seed).fit(rest["train"])
    near = min(NOVELTY_NEIGHBOURS, len(rest["train"]) - 1)
    factor = LocalOutlierFactor(near, novelty=True).fit(pca.transform(rest["train"]))
    return {
        part: -factor.score_samples(pca.transform(values))
        for part, values in rest.items()
        if part != "train"
    }


def log_quality(table: pd.DataFrame) -> Points:
    """Return the logarithms (N, 4) of the quality measures: equal steps are equal factors."""
    return np.log(table[QUALITY].to_numpy(np.float64) + SMALLEST)
