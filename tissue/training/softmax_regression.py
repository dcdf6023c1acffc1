"""Softmax regression with an L2 penalty, solved to the optimum: there is no epoch to choose."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from tissue.data.shards import RowSelection
from tissue.training.imbalance import Balance

BLOCK = 1024  # images that are read at once
LEAST_SPREAD = 0.01  # smallest standard deviation of a feature, as a share of the mean of all
TOLERANCE = 1e-6  # of the largest derivative of the mean loss
MOST_STEPS = 1000  # of the solver, which takes about ten
ABSENT = -100.0  # logit of a class without examples, whose optimum is minus infinity

Examples = tuple[RowSelection, NDArray[np.int64]]  # features (N, views, D) and labels (N,)
Features = NDArray[np.float64]


class Coefficients(NamedTuple):
    """Softmax regression on standardised features: all that is fitted, float64.

    Attributes:
        mean: of the features, (D,).
        spread: standard deviation of the features, (D,).
        kernel: coefficients, (D, classes).
        bias: intercepts, (classes,).
    """

    mean: Features
    spread: Features
    kernel: Features
    bias: Features

    def predict(self, features: NDArray[np.floating]) -> Features:
        """Return probabilities (..., classes) of features (..., D)."""
        scaled = (features - self.mean) / self.spread
        return softmax(scaled @ self.kernel + self.bias, axis=-1)


def mean_of_views(features: RowSelection) -> Features:
    """Return the mean over the views, float64 (N, D), of features (N, views, D)."""
    # Block by block: all views of all images together may be larger than the memory.
    starts = range(0, len(features), BLOCK)
    return np.concatenate(
        [features[at : at + BLOCK].mean(axis=1, dtype=np.float64) for at in starts]
    )


def fit_path(
    features: Features,
    labels: NDArray[np.int64],
    penalties: Sequence[float],
    *,
    balance: Balance,
    classes: int,
) -> list[Coefficients]:
    """Fit softmax regression once per penalty, each fit starting from the one before.

    What is least is the mean cross-entropy plus half the penalty times the squared coefficients;
    intercepts are free. The problem is convex, so the start only saves time.

    Args:
        features: float64 (N, D).
        labels: class numbers (N,).
        penalties: from strong to weak is fastest.
        balance: weights of the classes in the loss, or their prior.
        classes: number of classes.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    # A feature that hardly varies in training would dominate on images where it does.
    spread = np.maximum(spread, LEAST_SPREAD * spread.mean())
    scaled = (features - mean) / spread
    present = np.unique(labels)
    if len(present) == 1:  # any coefficients are optimal
        kernel, bias = np.zeros((features.shape[1], classes)), np.full(classes, ABSENT)
        bias[present] = 0.0
        return [Coefficients(mean, spread, kernel, bias)] * len(penalties)
    how: dict[str, Any] = {"solver": "newton-cg", "tol": TOLERANCE, "max_iter": MOST_STEPS}
    solver = LogisticRegression(**how, class_weight=balance.weights, warm_start=True)
    axes, rows = _rotate(scaled)
    fits = []
    for penalty in penalties:
        # Of two classes scikit-learn fits the difference, whose penalty is half that of both.
        strength = 1 / (penalty * len(labels)) * (2 if len(present) == 2 else 1)
        solver.set_params(C=strength).fit(rows, labels)
        fits.append(Coefficients(mean, spread, *_all_classes(solver, axes, balance, classes)))
    return fits


def _rotate(scaled: Features) -> tuple[Features, Features]:
    """Return axes (D, K) that span the examples (N, D), and their coordinates (N, K).

    No optimal coefficient lies outside of their span, since that would only add to the penalty.
    With fewer examples than features, K is N: the same optimum in less time.
    """
    if len(scaled) >= scaled.shape[1]:
        return np.eye(scaled.shape[1]), scaled
    axes, coordinates = np.linalg.qr(scaled.T)
    return axes, coordinates.T


def _all_classes(
    solver: LogisticRegression, axes: Features, balance: Balance, classes: int
) -> tuple[Features, Features]:
    """Return the kernel and the bias with a column for each class, also those without examples.

    Logits are adjusted for the sizes of the classes (Menon et al. 2021, arXiv 2007.07314): as the
    intercepts are free, the optimum of the adjusted loss is that of the plain one with the
    logarithm of the prior taken off them.
    """
    coefficients, intercepts = solver.coef_, solver.intercept_
    if len(solver.classes_) == 2:
        half = coefficients[0] / 2, intercepts[0] / 2
        coefficients, intercepts = np.stack([-half[0], half[0]]), np.array([-half[1], half[1]])
    kernel, bias = np.zeros((len(axes), classes)), np.full(classes, ABSENT)
    kernel[:, solver.classes_], bias[solver.classes_] = axes @ coefficients.T, intercepts
    if balance.prior is not None:
        bias[solver.classes_] -= np.log(balance.prior[solver.classes_])
    return kernel, bias
