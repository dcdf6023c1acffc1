"""The head, softmax regression on the features of a frozen backbone, and both as one model.

The head is solved to the optimum of its loss with an L2 penalty: there is no epoch to choose.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from tissue.config.schema import Params
from tissue.data.shards import RowSelection
from tissue.training.imbalance import Balance, balance_classes

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


def fit_head(
    params: Params, train: Sequence[Examples], *, penalty: float, classes: int
) -> keras.Model:
    """Fit a head to the mean of the views of each image.

    Args:
        params: `class_weights` is used.
        train: features (N, views, D) and labels (N,) of the training images, then of the same
            images restained, if any, which count as images of their own.
        penalty: see `fit_path`.
        classes: number of classes.
    """
    values = np.concatenate([mean_of_views(features) for features, _ in train])
    labels = np.concatenate([labels for _, labels in train])
    balance = balance_classes(labels, params.class_weights, classes=classes)
    (fitted,) = fit_path(values, labels, [penalty], balance=balance, classes=classes)
    return build_head(fitted, penalty=penalty)


def build_head(fitted: Coefficients, *, penalty: float) -> keras.Model:
    """Return softmax regression as a Keras model: features (N, D) to probabilities (N, classes).

    The penalty acts while the head is trained further, with the backbone.
    """
    standardise = layers.Normalization(name="standardise")
    standardise.build((None, len(fitted.mean)))
    standardise.adapt_mean.assign(fitted.mean)
    standardise.adapt_variance.assign(fitted.spread**2)
    standardise.finalize_state()
    probabilities = layers.Dense(
        len(fitted.bias), activation="softmax", name="probabilities",
        kernel_regularizer=keras.regularizers.L2(penalty / 2),
    )  # fmt: skip
    inputs = keras.Input((len(fitted.mean),), name="features")
    head = keras.Model(inputs, probabilities(standardise(inputs)), name="head")
    probabilities.set_weights([fitted.kernel, fitted.bias])
    return head


def join_backbone(backbone: keras.Model, head: keras.Model, *, crops: int) -> keras.Model:
    """Return one model from images in [0, 255] (N, S, S, 3) to class probabilities.

    With `crops` above 0 it has a second input, crops in [0, 255] (N, crops, S, S, 3), and the head
    takes the mean of their features after those of the whole image.
    """
    images = keras.Input(backbone.input_shape[1:], name="image")
    features = backbone(images)
    if not crops:
        return keras.Model(images, head(features), name="pretrained")
    magnified = keras.Input((crops, *backbone.input_shape[1:]), name="crops")
    # One call per crop: a layer that wraps the backbone would be saved with a second copy of it.
    each = [backbone(magnified[:, crop]) for crop in range(crops)]
    pooled = layers.Average(name="pooled_crops")(each) if crops > 1 else each[0]
    both = layers.Concatenate(name="both_scales")([features, pooled])
    return keras.Model([images, magnified], head(both), name="pretrained")
