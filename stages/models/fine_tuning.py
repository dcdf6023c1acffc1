"""Training of the top of a backbone together with its head."""

from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
import pandas as pd
from keras import layers
from numpy.typing import NDArray

from stages.cli.running import InputError
from stages.dataset.index import Part
from stages.models.augmentation import augment, stain_factors
from stages.models.frozen_maps import compute_maps, cut_below_trained, one_of
from stages.models.heads import join
from stages.models.training import Batches, fit, validation_loss
from stages.params.schema import Pretrained

Inputs = NDArray[np.uint8] | dict[str, NDArray[np.uint8]]


def fine_tune(
    network: keras.Model,
    train: Part,
    val: Part,
    settings: Pretrained,
    *,
    seed: int,
    lr: float,
    batch_size: int,
    logs: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train the head and the top layers of the backbone on images; return the history.

    Discriminative learning rates (Howard and Ruder 2018, arXiv 1801.06146): that of the head times
    `fine_tune_lr_factor` at the top of the backbone, and `fine_tune_decay` times as much in each
    layer as in the one above. Batch normalisation stays frozen. Images are zoomed and stained, anew
    in each epoch or, with `fine_tune_copies`, so often in all, and then the frozen layers at the
    bottom see them but once. With `fine_tune_average` the mean of the weights over the last epochs
    is kept. Where that has no lower validation loss than the network had before, its weights of
    before are, and it is said.

    Raises:
        InputError: if none of the top layers has weights, or copies are asked for and all have.
    """
    backbone = network.get_layer("backbone")
    unfreeze(backbone, settings.fine_tune_layers)
    factors = learning_rate_factors(
        backbone, top=settings.fine_tune_lr_factor, decay=settings.fine_tune_decay
    )
    if not factors:
        raise InputError(
            "pretrained.fine_tune_layers: expected so many that one of them has weights to train. "
            f"Received: {settings.fine_tune_layers}, and so many layers at the top of "
            f"{settings.backbone} have none. Give a larger number."
        )
    batches = partial(Batches, classes=network.output_shape[-1], batch_size=batch_size)
    change = _change(settings.fine_tune_zoom, settings.fine_tune_stain_jitter)
    seen = batches(Scales(train), train.labels, seed=seed, change=change)
    unseen = batches(Scales(val), val.labels)
    if settings.fine_tune_copies:
        lower, upper = cut_below_trained(backbone)
        crops = 0 if train.crops is None else train.crops.shape[1]
        drawings = [
            batches(Scales(train), train.labels, change=change, epoch=copy)
            for copy in range(settings.fine_tune_copies)
        ]
        *copies, unchanged = compute_maps(lower, [*drawings, unseen])
        # The same layers, from there on.
        network = join(upper, network.get_layer("head"), crops=crops)
        rows = np.arange(len(train.labels)), np.arange(len(val.labels))
        seen = batches(rows[0], train.labels, seed=seed, change=one_of(copies))
        unseen = batches(rows[1], val.labels, change=one_of([unchanged]))
    kept, before = network.get_weights(), validation_loss(network, unseen)
    table = fit(
        network,
        seen,
        unseen,
        lr=lr,
        lr_factors=factors,
        epochs=settings.fine_tune_epochs,
        patience=settings.patience,
        average=settings.fine_tune_average,
        name="fine_tune",
        logs=logs,
    )  # fmt: skip
    if not (after := validation_loss(network, unseen)) < before:
        network.set_weights(kept)
        print(
            f"fine_tune: the validation loss, {after:.3f}, is not below that of the head alone, "
            f"{before:.3f}, so that the network stays as it was"
        )
    return table


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


class Scales:
    """Rows of the whole images of a part and, where it has them, of their crops."""

    def __init__(self, part: Part) -> None:
        """Read from the arrays of `part` when rows are asked for."""
        self.images, self.crops = part.images, part.crops

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.int64]) -> Inputs:
        """Return some of the images, with crops in a dictionary by name of the model's input."""
        images = np.asarray(self.images[rows])
        if self.crops is None:
            return images
        return {"image": images, "crops": np.asarray(self.crops[rows])}


def _change(zoom: float, stain_jitter: float) -> Callable[..., Inputs]:
    def change(inputs: Inputs, rng: np.random.Generator) -> Inputs:
        rows = len(keras.tree.flatten(inputs)[0])
        # An image and its crops are of one section, in one stain.
        factors = np.stack([stain_factors(rng, stain_jitter) for _ in range(rows)])

        def change_all(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
            flat = array.reshape(-1, *array.shape[-3:])
            each = np.repeat(factors, len(flat) // rows, axis=0)
            return augment(flat, rng, zoom=zoom, factors=each).reshape(array.shape)

        return keras.tree.map_structure(change_all, inputs)

    return change
