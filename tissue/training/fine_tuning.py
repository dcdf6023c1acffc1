"""Training of the top of a backbone together with its head."""

from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
import pandas as pd
from keras import layers
from numpy.typing import NDArray

from tissue.common.augmentation import augment
from tissue.common.errors import InputError
from tissue.common.stains import draw_stain_factors
from tissue.config.schema import Params, Pretrained
from tissue.data.index import Dataset
from tissue.training.batches import Batches
from tissue.training.frozen_maps import compute_maps, cut_below_trained, pick_copy
from tissue.training.head import join_backbone
from tissue.training.loop import FitSettings, fit, validation_loss

Inputs = NDArray[np.uint8] | dict[str, NDArray[np.uint8]]


def fine_tune(
    network: keras.Model,
    train: Dataset,
    val: Dataset,
    params: Params,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train the head and the top layers of the backbone on images; return the history.

    Learning rates are discriminative (Howard and Ruder 2018, arXiv 1801.06146): at the top of the
    backbone that of the head times `fine_tune_lr_factor`, in each layer `fine_tune_decay` times
    that of the layer above. Batch normalisation stays frozen. The mean of the weights over the last
    epochs is kept, unless its validation loss is not below that of the network before.

    Args:
        network: backbone and head, as from `join_backbone`; it is trained in place.
        train: images to train on, which are zoomed and stained: anew in each epoch or, with
            `fine_tune_copies`, only so many times, and then frozen layers see each copy once.
        val: images that decide whether the result is kept.
        params: `pretrained`, `seed`, `lr` and `batch_size` are used.
        callbacks: called in every epoch.

    Raises:
        InputError: if none of the top layers has weights, or copies are asked for and all have.
    """
    settings = params.pretrained
    backbone = network.get_layer("backbone")
    unfreeze(backbone, settings.fine_tune_layers)
    factors = _checked_factors(backbone, settings)
    make_batches = _map_batches if settings.fine_tune_copies else _image_batches
    trained, seen, unseen = make_batches(train, val, params, network)
    kept, before = trained.get_weights(), validation_loss(trained, unseen)
    fit_settings = FitSettings(
        lr=params.lr, lr_factors=factors, epochs=settings.fine_tune_epochs,
        average=settings.fine_tune_average,
    )  # fmt: skip
    history = fit(trained, seen, unseen, fit_settings, name="fine_tune", callbacks=callbacks)
    if not (after := validation_loss(trained, unseen)) < before:
        trained.set_weights(kept)
        print(
            f"fine_tune: the validation loss, {after:.3f}, is not below that of the head alone, "
            f"{before:.3f}, so the network stays as it was"
        )
    return history


def _checked_factors(backbone: keras.Model, settings: Pretrained) -> dict[str, float]:
    factors = learning_rate_factors(
        backbone, top=settings.fine_tune_lr_factor, decay=settings.fine_tune_decay
    )
    if not factors:
        raise InputError(
            "pretrained.fine_tune_layers: expected so many that one of them has weights to train. "
            f"Received: {settings.fine_tune_layers}, and so many layers at the top of "
            f"{settings.backbone} have none. Give a larger number."
        )
    return factors


def _batches(params: Params, network: keras.Model) -> partial[Batches]:
    return partial(Batches, classes=network.output_shape[-1], batch_size=params.batch_size)


def _image_batches(
    train: Dataset, val: Dataset, params: Params, network: keras.Model
) -> tuple[keras.Model, Batches, Batches]:
    batches, transform = _batches(params, network), _transform(params.pretrained)
    seen = batches(BothScales(train), train.labels, seed=params.seed, transform=transform)
    return network, seen, batches(BothScales(val), val.labels)


def _map_batches(
    train: Dataset, val: Dataset, params: Params, network: keras.Model
) -> tuple[keras.Model, Batches, Batches]:
    """Return the network above its frozen layers, with batches of the maps that these compute."""
    batches, transform = _batches(params, network), _transform(params.pretrained)
    lower, upper = cut_below_trained(network.get_layer("backbone"))
    drawings = [
        batches(BothScales(train), train.labels, transform=transform, epoch=copy)
        for copy in range(params.pretrained.fine_tune_copies)
    ]
    *copies, unchanged = compute_maps(lower, [*drawings, batches(BothScales(val), val.labels)])
    crops = 0 if train.crops is None else train.crops.shape[1]
    # It has the same layers as `network`, from the cut upwards.
    above = join_backbone(upper, network.get_layer("head"), crops=crops)
    rows = np.arange(len(train.labels)), np.arange(len(val.labels))
    seen = batches(rows[0], train.labels, seed=params.seed, transform=pick_copy(copies))
    return above, seen, batches(rows[1], val.labels, transform=pick_copy([unchanged]))


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


class BothScales:
    """Rows of the whole images of a split and, where it has them, of their crops."""

    def __init__(self, dataset: Dataset) -> None:
        self.images, self.crops = dataset.images, dataset.crops

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.int64]) -> Inputs:
        """Return some of the images, with crops in a dictionary by name of the model's input."""
        images = np.asarray(self.images[rows])
        if self.crops is None:
            return images
        return {"image": images, "crops": np.asarray(self.crops[rows])}


def _transform(settings: Pretrained) -> Callable[..., Inputs]:
    def transform(inputs: Inputs, rng: np.random.Generator) -> Inputs:
        rows = len(keras.tree.flatten(inputs)[0])
        # An image and its crops are of one section, in one stain.
        jitter = settings.fine_tune_stain_jitter
        factors = np.stack([draw_stain_factors(rng, jitter) for _ in range(rows)])

        def transform_all(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
            flat = array.reshape(-1, *array.shape[-3:])
            each = np.repeat(factors, len(flat) // rows, axis=0)
            zoom = settings.fine_tune_zoom
            return augment(flat, rng, zoom=zoom, factors=each).reshape(array.shape)

        return keras.tree.map_structure(transform_all, inputs)

    return transform
