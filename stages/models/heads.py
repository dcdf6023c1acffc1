"""The classifier on top of a frozen backbone, and both as one model."""

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from stages.dataset.shards import Chosen
from stages.params.schema import Pretrained

BLOCK = 8192  # rows whose mean and variance are taken at once
LEAST_SPREAD = 0.01  # standard deviation that a feature counts with, of the mean of all features


def build_head(
    features: NDArray[np.float32] | Chosen, settings: Pretrained, *, classes: int, seed: int
) -> keras.Model:
    """Build a classifier of standardised features: (N, D) to probabilities (N, classes).

    Softmax regression or, with `hidden` above 0, a network with one hidden layer.

    Args:
        features: training features float32 (M, D), for their mean and variance.
        settings: the size of the hidden layer, dropout and L2.
        classes: number of classes.
        seed: of the initial coefficients and of dropout.
    """
    standardise = layers.Normalization(name="standardise")
    # Block by block: all rows together may be larger than the memory.
    standardise.adapt(features[at : at + BLOCK] for at in range(0, len(features), BLOCK))
    # What hardly varies in training would be blown up where, on other images, it does.
    variance = np.asarray(standardise.adapt_variance)
    floor = (LEAST_SPREAD * np.sqrt(variance).mean()) ** 2
    standardise.adapt_variance.assign(np.maximum(variance, floor))
    standardise.finalize_state()
    inputs = keras.Input((features.shape[1],), name="features")
    x = standardise(inputs)
    x = layers.Dropout(settings.dropout, seed=seed, name="dropout")(x)
    if settings.hidden:
        x = _dense(settings.hidden, "relu", settings.l2, seed=seed + 1, name="hidden")(x)
        x = layers.Dropout(settings.dropout, seed=seed + 1, name="hidden_dropout")(x)
    x = _dense(classes, "softmax", settings.l2, seed=seed, name="probabilities")(x)
    return keras.Model(inputs, x, name="head")


def _dense(units: int, activation: str, l2: float, *, seed: int, name: str) -> layers.Dense:
    return layers.Dense(
        units,
        activation=activation,
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        kernel_regularizer=keras.regularizers.L2(l2),
        name=name,
    )


def join(backbone: keras.Model, head: keras.Model, *, crops: int) -> keras.Model:
    """Return one model from images in [0, 255] (N, S, S, 3) to class probabilities.

    With `crops` above 0 it takes a second input, crops in [0, 255] (N, crops, S, S, 3), and the
    head sees the mean of their features after those of the whole image.
    """
    images = keras.Input(backbone.input_shape[1:], name="image")
    features = backbone(images)
    if not crops:
        return keras.Model(images, head(features), name="pretrained")
    magnified = keras.Input((crops, *backbone.input_shape[1:]), name="crops")
    # Called once a crop: a layer that wraps the backbone would be saved with a second copy of it.
    each = [backbone(magnified[:, crop]) for crop in range(crops)]
    pooled = layers.Average(name="pooled_crops")(each) if crops > 1 else each[0]
    both = layers.Concatenate(name="both_scales")([features, pooled])
    return keras.Model([images, magnified], head(both), name="pretrained")
