"""The classifier on top of a frozen backbone, and both as one model."""

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray


def build_head(
    features: NDArray[np.float32], *, classes: int, dropout: float, l2: float, seed: int
) -> keras.Model:
    """Build a softmax regression on standardised features: (N, D) to probabilities (N, classes).

    Args:
        features: training features float32 (M, D), for their mean and variance.
        classes: number of classes.
        dropout: share of features dropped in training.
        l2: weight of the squared coefficients in the loss.
        seed: of the initial coefficients and of dropout.
    """
    standardise = layers.Normalization(name="standardise")
    standardise.adapt(features)
    inputs = keras.Input((features.shape[1],), name="features")
    x = standardise(inputs)
    x = layers.Dropout(dropout, seed=seed, name="dropout")(x)
    probabilities = layers.Dense(
        classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        kernel_regularizer=keras.regularizers.L2(l2),
        name="probabilities",
    )(x)
    return keras.Model(inputs, probabilities, name="head")


def join(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Return one model from images in [0, 255] (N, S, S, 3) to class probabilities."""
    images = keras.Input(backbone.input_shape[1:], name="image")
    return keras.Model(images, head(backbone(images)), name="pretrained")


def unfreeze(backbone: keras.Model, count: int) -> None:
    """Make the top `count` layers of a backbone trainable; batch normalisation stays frozen."""
    network = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    network.trainable = True
    for position, layer in enumerate(reversed(network.layers)):
        frozen = position >= count or isinstance(layer, layers.BatchNormalization)
        layer.trainable = not frozen
