"""The head, a classifier of the features of a frozen backbone, and both as one model."""

from collections.abc import Sequence
from functools import partial

import keras
import numpy as np
import pandas as pd
from keras import layers
from numpy.typing import NDArray

from tissue.config.schema import Params, Pretrained
from tissue.data.features import flatten_views
from tissue.data.shards import RowSelection
from tissue.training.batches import Batches
from tissue.training.imbalance import balance_classes
from tissue.training.loop import FitSettings, Phase, fit

BLOCK = 8192  # rows whose mean and variance are computed at once
LEAST_SPREAD = 0.01  # smallest standard deviation of a feature, as a share of the mean of all
Examples = tuple[RowSelection, NDArray[np.int64]]


def train_head(
    params: Params,
    train: Sequence[Examples],
    val: Examples | None,
    *,
    classes: int,
    several_gpus: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    name: str = "train_pretrained",
) -> tuple[keras.Model, pd.DataFrame]:
    """Train a head; each view of an image is an example of its own.

    Args:
        params: `pretrained`, `seed`, `lr`, `batch_size` and `class_weights` are used.
        train: features (N, views, D) and labels (N,) of the training images, then of the same
            images restained, if any. The first set standardises the features.
        val: likewise of validation, which chooses the epoch; without it the last one is kept.
        classes: number of classes.
        several_gpus: whether several GPUs train.
        callbacks: called in every epoch.
        name: in front of the progress bar.

    Returns:
        The head and its history as from `fit`.
    """
    settings, (features, labels) = params.pretrained, train[0]
    head = build_head(flatten_views(features), settings, classes=classes, seed=params.seed)
    batches = partial(Batches, classes=classes, batch_size=params.batch_size)
    seen = batches(*_each_view(train), seed=params.seed)
    phase = Phase(settings.epochs, seen, batches(*_each_view([val])) if val else None)
    # A step of the head takes no longer than the call.
    steps = 1 if several_gpus else 16
    fit_settings = FitSettings(
        params.lr, patience=settings.patience, steps_per_execution=steps,
        balance=balance_classes(labels, params.class_weights, classes=classes),
    )  # fmt: skip
    history = fit(head, [phase], fit_settings, name=name, callbacks=callbacks)
    return head, history


def _each_view(examples: Sequence[Examples]) -> tuple[RowSelection, NDArray[np.int64]]:
    labels = [np.repeat(labels, features.shape[1]) for features, labels in examples]
    return flatten_views(*(features for features, _ in examples)), np.concatenate(labels)


def build_head(
    features: NDArray[np.float32] | RowSelection, settings: Pretrained, *, classes: int, seed: int
) -> keras.Model:
    """Build softmax regression on standardised features: (N, D) to probabilities (N, classes).

    The mean and variance are those of `features` float32 (M, D). The seed is of the initial
    coefficients and of dropout.
    """
    standardise = layers.Normalization(name="standardise")
    # Block by block: all rows together may be larger than the memory.
    standardise.adapt(features[at : at + BLOCK] for at in range(0, len(features), BLOCK))
    # A feature that hardly varies in training would dominate on images where it does.
    variance = np.asarray(standardise.adapt_variance)
    floor = (LEAST_SPREAD * np.sqrt(variance).mean()) ** 2
    standardise.adapt_variance.assign(np.maximum(variance, floor))
    standardise.finalize_state()
    inputs = keras.Input((features.shape[1],), name="features")
    x = layers.Dropout(settings.dropout, seed=seed, name="dropout")(standardise(inputs))
    probabilities = layers.Dense(
        classes, activation="softmax", name="probabilities",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        kernel_regularizer=keras.regularizers.L2(settings.l2),
    )  # fmt: skip
    return keras.Model(inputs, probabilities(x), name="head")


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
