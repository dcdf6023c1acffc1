"""Temperature scaling: probabilities that are right as often as they say.

Guo et al. 2017, arXiv 1706.04599.
"""

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from tissue.common.stains import augment_stains
from tissue.data.index import Dataset
from tissue.training.inference import iterate_batches, predict_batch

COLDEST, HOTTEST = 0.05, 20.0
# Standard deviation of the logarithm of the temperature before any image was seen: few of them,
# or none that is wrong, shall not make a model as good as certain, or of no opinion.
SPREAD = 0.5
LEAST = 1e-12  # probability; its logarithm is finite


def temperature(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the most probable temperature of the views' mean probabilities.

    Args:
        probabilities: of a softmax, (N, variants, views, classes), of images not trained on, each
            in one variant or more, such as other stains.
        labels: class numbers (N,).
    """
    logits = np.log(np.maximum(probabilities, LEAST, dtype=np.float64))
    actual = np.asarray(labels)[:, None, None]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        mean = (scaled / scaled.sum(axis=-1, keepdims=True)).mean(axis=2)
        of_actual = np.take_along_axis(mean, actual, axis=-1)
        prior = (log_temperature / SPREAD) ** 2 / 2 / len(labels)
        return float(prior - np.log(np.maximum(of_actual, LEAST)).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def predict_stainings(
    model: keras.Model,
    part: Dataset,
    *,
    views: int,
    stainings: int,
    jitter: float,
    seed: int,
    name: str,
) -> NDArray[np.float32]:
    """Return probabilities float32 (N, stainings, views, classes) of images in other stains.

    As `predict_views` does of images in their own stains; see `stain_again`.
    """
    batches = []
    for images, crops in iterate_batches(part, name):
        changed = augment_stains(images, crops, stainings=stainings, jitter=jitter, seed=seed)
        each = [predict_batch(model, *pictures, views=views) for pictures in changed]
        batches.append(np.stack(each, axis=1))
    return np.concatenate(batches)


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
