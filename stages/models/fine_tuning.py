"""Training of the top of a backbone together with its head."""

import keras
import numpy as np
import pandas as pd
from keras import layers
from numpy.typing import NDArray

from stages.dataset.index import Part
from stages.models.augmentation import augment
from stages.models.training import Batches, fit
from stages.params.schema import Pretrained


def fine_tune(
    network: keras.Model,
    train: Part,
    val: Part,
    settings: Pretrained,
    *,
    seed: int,
    lr: float,
    batch_size: int,
) -> pd.DataFrame:
    """Train the head and the top layers of the backbone on images; return the history.

    Discriminative learning rates (Howard and Ruder 2018, arXiv 1801.06146): that of the head times
    `fine_tune_lr_factor` at the top of the backbone, and `fine_tune_decay` times as much in each
    layer as in the one above. Batch normalisation stays frozen.
    """
    backbone = network.get_layer("backbone")
    unfreeze(backbone, settings.fine_tune_layers)
    factors = learning_rate_factors(
        backbone, top=settings.fine_tune_lr_factor, decay=settings.fine_tune_decay
    )
    classes = network.output_shape[-1]
    return fit(
        network,
        Batches(
            _inputs(train), train.labels, classes=classes, batch_size=batch_size, seed=seed,
            change=_turn,
        ),
        Batches(_inputs(val), val.labels, classes=classes, batch_size=batch_size),
        lr=lr,
        lr_factors=factors,
        epochs=settings.fine_tune_epochs,
        patience=settings.patience,
        name="fine_tune",
    )  # fmt: skip


def unfreeze(backbone: keras.Model, count: int) -> None:
    """Make the top `count` layers of a backbone trainable; batch normalisation stays frozen."""
    network = _inner(backbone)
    network.trainable = True
    for position, layer in enumerate(reversed(network.layers)):
        frozen = position >= count or isinstance(layer, layers.BatchNormalization)
        layer.trainable = not frozen


def learning_rate_factors(backbone: keras.Model, *, top: float, decay: float) -> dict[str, float]:
    """Return for each trainable variable's path its share of the learning rate.

    `top` for the topmost layer with such variables, and `decay` times as much in each below.
    """
    trainable = [layer for layer in reversed(_inner(backbone).layers) if layer.trainable_variables]
    return {
        variable.path: top * decay**depth
        for depth, layer in enumerate(trainable)
        for variable in layer.trainable_variables
    }


def _inner(backbone: keras.Model) -> keras.Model:
    return next(layer for layer in backbone.layers if isinstance(layer, keras.Model))


def _inputs(part: Part) -> tuple[NDArray[np.uint8], ...]:
    return (part.images,) if part.crops is None else (part.images, part.crops)


def _turn(
    inputs: tuple[NDArray[np.uint8], ...], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], ...]:
    flat = [array.reshape(-1, *array.shape[-3:]) for array in inputs]
    turned = [augment(array, rng, zoom=0.0, stain_jitter=0.0) for array in flat]
    return tuple(array.reshape(before.shape) for array, before in zip(turned, inputs, strict=True))
