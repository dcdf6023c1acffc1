"""Temperature scaling: probabilities that are right as often as they say.

Guo et al. 2017, arXiv 1706.04599.
"""

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

COLDEST, HOTTEST = 0.05, 20.0
LEAST = 1e-12  # probability; its logarithm is finite


def temperature(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the temperature that makes the views' mean probabilities most likely.

    Args:
        probabilities: of a softmax, (N, views, classes), of images not trained on.
        labels: class numbers (N,).
    """
    logits = np.log(np.maximum(probabilities, LEAST, dtype=np.float64))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        mean = (scaled / scaled.sum(axis=-1, keepdims=True)).mean(axis=1)
        return float(-np.log(np.maximum(mean[np.arange(len(labels)), labels], LEAST)).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def calibrate(
    classifier: keras.Model, probabilities: NDArray[np.floating], labels: NDArray[np.int64]
) -> None:
    """Build the temperature into a classifier whose last layer is `probabilities`, a softmax.

    Args:
        classifier: its logits are divided by the temperature from now on.
        probabilities: its own, and `labels`: see `temperature`.
    """
    layer = classifier.get_layer("probabilities")
    by = temperature(probabilities, labels)
    layer.set_weights([weights / by for weights in layer.get_weights()])
