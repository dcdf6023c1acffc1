"""The head, a classifier of the features of a frozen backbone, and both as one model."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from tissue.config.schema import Params
from tissue.training.imbalance import balance_classes
from tissue.training.softmax_regression import Coefficients, Examples, fit_path, mean_of_views


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
