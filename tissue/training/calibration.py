"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599)."""

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from tissue.common.stains import augment_stains
from tissue.data.index import Dataset
from tissue.training.inference import iterate_batches, predict_batch

COLDEST, HOTTEST = 0.05, 20.0
# Standard deviation of the prior of the logarithm of the temperature, which keeps it finite for few
# images, all of them right or all wrong.
SPREAD = 0.5
LEAST = 1e-12  # probability whose logarithm is finite


def temperature(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the most probable temperature for the mean probabilities of the views.

    Probabilities (N, variants, views, classes) are those of a softmax on images not trained on, in
    one or more variants, such as restained; labels are class numbers (N,).
    """
    logits = np.log(np.maximum(probabilities, LEAST, dtype=np.float64))

    def loss(log_temperature: float) -> float:
        mean = softmax(logits / np.exp(log_temperature), axis=-1).mean(axis=2)
        of_label = np.take_along_axis(mean, labels[:, None, None], axis=-1)
        prior = (log_temperature / SPREAD) ** 2 / 2 / len(labels)
        return float(prior - np.log(np.maximum(of_label, LEAST)).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def predict_stainings(
    model: keras.Model,
    dataset: Dataset,
    *,
    views: int,
    stainings: int,
    jitter: float,
    seed: int,
    name: str,
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, stainings, views, classes) of restained images.

    Args:
        model: see `predict_views`, as for `dataset`, `views` and `name`.
        dataset: images and crops.
        views: number of dihedral views.
        stainings: see `augment_stains`, as for `jitter` and `seed`.
        jitter: standard deviation of the logarithm of the factors on the stains.
        seed: of the factors.
        name: in front of the progress bar.
    """
    batches = []
    for batch in iterate_batches(dataset, name):
        restained = augment_stains(*batch, stainings=stainings, jitter=jitter, seed=seed)
        each = [predict_batch(model, *copy, views=views) for copy in restained]
        batches.append(np.stack(each, axis=1))
    return np.concatenate(batches)


def calibrate(
    classifier: keras.Model, probabilities: NDArray[np.floating], labels: NDArray[np.int64]
) -> float:
    """Divide the logits of a classifier, whose last layer is Dense, by the temperature.

    See `temperature` for its probabilities and their labels. Returns the temperature.
    """
    layer, divisor = classifier.layers[-1], temperature(probabilities, labels)
    layer.set_weights([weights / divisor for weights in layer.get_weights()])
    return divisor


def divide_logits(probabilities: NDArray[np.floating], divisor: float) -> NDArray[np.float64]:
    """Return probabilities (..., classes) after division of their logits by the temperature."""
    return softmax(np.log(np.maximum(probabilities, LEAST, dtype=np.float64)) / divisor, axis=-1)
