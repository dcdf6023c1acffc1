"""Classes of unequal size: weights in the loss, or logits adjusted by the size of the class."""

from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight


class Balance(NamedTuple):
    """How a loss makes up for unequal classes; both are None where it does not.

    Attributes:
        weights: factor of the loss of an image, by its class.
        prior: share of each class in training, float32 (classes,).
    """

    weights: dict[int, float] | None = None
    prior: NDArray[np.float32] | None = None


def balance_classes(labels: NDArray[np.int64], how: str, *, classes: int) -> Balance:
    """Return what `class_weights` asks for: none, balanced or logit_adjusted.

    Nothing is changed where all classes are equally large.
    """
    counts = np.bincount(labels, minlength=classes)
    if how == "none" or (counts == counts[0]).all():
        return Balance()
    if how == "balanced":
        present = np.unique(labels)
        weights = compute_class_weight("balanced", classes=present, y=labels)
        return Balance(weights=dict(zip(present.tolist(), weights.tolist(), strict=True)))
    return Balance(prior=(counts / counts.sum()).astype(np.float32))


def cross_entropy(balance: Balance, *, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Return the loss of class probabilities against one-hot labels."""
    if balance.prior is None:
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    return LogitAdjustedCrossentropy(balance.prior, label_smoothing=label_smoothing)


class LogitAdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy of probabilities times the prior of the classes, normalised.

    Menon et al. 2021, arXiv 2007.07314: adding the logarithm of the prior to the logits in training
    makes the logits alone those of equally frequent classes.
    """

    def __init__(self, prior: NDArray[np.float32], *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.prior, self.label_smoothing = prior, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        adjusted = y_pred * self.prior
        adjusted /= keras.ops.sum(adjusted, axis=-1, keepdims=True)
        return keras.losses.categorical_crossentropy(
            y_true, adjusted, label_smoothing=self.label_smoothing
        )
