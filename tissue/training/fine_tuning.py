"""Training of the top layers of a backbone together with the head."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers
from keras.utils import to_categorical
from numpy.typing import NDArray

from tissue.common.augmentation import augment
from tissue.common.errors import InputError
from tissue.common.stains import draw_stain_factors, empty_slide
from tissue.config.schema import Params, Pretrained
from tissue.data.index import Dataset
from tissue.training.batches import Batches
from tissue.training.frozen_maps import compute_maps, cut_below_trained, pick_copy
from tissue.training.head import join_backbone
from tissue.training.imbalance import balance_classes, cross_entropy
from tissue.training.loop import FitSettings, Phase, fit, validation_loss

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

    Learning rates are discriminative (Howard and Ruder 2018, arXiv 1801.06146), see
    `learning_rate_factors`. Batch normalisation stays frozen. The mean of the weights over the last
    epochs is kept if it lowers the validation loss.

    Args:
        network: backbone and head, as from `join_backbone`; it is trained in place.
        train: images to train on, augmented anew in each epoch or `fine_tune_copies` times, so that
            frozen layers see each copy once.
        val: images that decide whether the result is kept.
        params: `pretrained`, `seed`, `lr`, `batch_size` and `class_weights` are used.
        callbacks: called in every epoch.

    Raises:
        InputError: see `learning_rate_factors` and `cut_below_trained`.
    """
    settings = params.pretrained
    unfreeze(network.get_layer("backbone"), settings.fine_tune_layers)
    fit_settings = _fit_settings(network, train.labels, params)
    make_phase = _phase_of_maps if settings.fine_tune_copies else _phase_of_images
    model, phase = make_phase(network, train, val, params)
    loss = cross_entropy(fit_settings.balance)
    weights, before = model.get_weights(), validation_loss(model, phase.val, loss)
    history = fit(model, [phase], fit_settings, name="fine_tune", callbacks=callbacks)
    if not (after := validation_loss(model, phase.val, loss)) < before:
        model.set_weights(weights)
        print(
            f"fine_tune: the validation loss, {after:.3f}, is not below that of the head alone, "
            f"{before:.3f}, so the network stays as it was"
        )
    return history


def _fit_settings(network: keras.Model, labels: NDArray[np.int64], params: Params) -> FitSettings:
    settings = params.pretrained
    factors = learning_rate_factors(network.get_layer("backbone"), settings)
    balance = balance_classes(labels, params.class_weights, classes=network.output_shape[-1])
    return FitSettings(params.lr, settings.fine_tune_average, lr_factors=factors, balance=balance)


def _phase_of_images(
    network: keras.Model, train: Dataset, val: Dataset, params: Params
) -> tuple[keras.Model, Phase]:
    """Return the network itself, with batches of images."""
    batches, transform = _batch_makers(params)
    train_targets, val_targets = _targets(network, train, val)
    seen = batches(both_scales(train), train_targets, seed=params.seed, transform=transform)
    unseen = batches(both_scales(val), val_targets)
    return network, Phase(params.pretrained.fine_tune_epochs, seen, unseen)


def _phase_of_maps(
    network: keras.Model, train: Dataset, val: Dataset, params: Params
) -> tuple[keras.Model, Phase]:
    """Return the network above its frozen layers, with batches of the maps that these compute."""
    settings = params.pretrained
    batches, transform = _batch_makers(params)
    train_targets, val_targets = _targets(network, train, val)
    lower, upper = cut_below_trained(network.get_layer("backbone"))
    augmented = [
        batches(both_scales(train), train_targets, transform=transform, epoch=copy)
        for copy in range(settings.fine_tune_copies)
    ]
    *copies, plain = compute_maps(lower, [*augmented, batches(both_scales(val), val_targets)])
    crops = 0 if train.crops is None else train.crops.shape[1]
    # It shares the layers of `network` from the cut upwards.
    above = join_backbone(upper, network.get_layer("head"), crops=crops)
    train_rows, val_rows = np.arange(len(train_targets)), np.arange(len(val_targets))
    seen = batches(train_rows, train_targets, seed=params.seed, transform=pick_copy(copies))
    unseen = batches(val_rows, val_targets, transform=pick_copy([plain]))
    return above, Phase(settings.fine_tune_epochs, seen, unseen)


def _targets(network: keras.Model, *datasets: Dataset) -> list[NDArray[np.float64]]:
    return [to_categorical(one.labels, network.output_shape[-1]) for one in datasets]


def _batch_makers(params: Params) -> tuple[Callable[..., Batches], Callable[..., Inputs]]:
    batches = partial(Batches, batch_size=params.batch_size)
    zoom, jitter = params.pretrained.fine_tune_zoom, params.pretrained.fine_tune_stain_jitter
    return batches, partial(augment_both_scales, zoom=zoom, stain_jitter=jitter)


def unfreeze(backbone: keras.Model, count: int) -> None:
    """Make the top `count` layers of a backbone trainable; batch normalisation stays frozen."""
    network = _inner(backbone)
    network.trainable = True
    for position, layer in enumerate(reversed(network.layers)):
        frozen = position >= count or isinstance(layer, layers.BatchNormalization)
        layer.trainable = not frozen


def learning_rate_factors(backbone: keras.Model, settings: Pretrained) -> dict[str, float]:
    """Return the share of the learning rate of each trainable variable, by its path.

    It is `fine_tune_lr_factor` in the topmost layer with such variables, and `fine_tune_decay`
    times that of the layer above in each layer below.

    Raises:
        InputError: if there is no such variable.
    """
    trainable = [layer for layer in reversed(_inner(backbone).layers) if layer.trainable_variables]
    if not trainable:
        raise InputError(
            "advanced.pretrained.fine_tune_layers: expected so many that one of them has weights "
            f"to train. Received: {settings.fine_tune_layers}, and so many layers at the top of "
            f"{settings.backbone} have none. Give a larger number."
        )
    return {
        variable.path: settings.fine_tune_lr_factor * settings.fine_tune_decay**depth
        for depth, layer in enumerate(trainable)
        for variable in layer.trainable_variables
    }


def _inner(backbone: keras.Model) -> keras.Model:
    return next(layer for layer in backbone.layers if isinstance(layer, keras.Model))


def both_scales(dataset: Dataset) -> Any:
    """Return the images, or images and crops by name of the model's input."""
    if dataset.crops is None:
        return dataset.images
    return {"image": dataset.images, "crops": dataset.crops}


def augment_both_scales(
    inputs: Inputs, rng: np.random.Generator, *, zoom: float, stain_jitter: float
) -> Inputs:
    """Return `augment`ed images and crops; both show one section, so both are stained alike."""
    images = inputs["image"] if isinstance(inputs, dict) else inputs
    rows = len(images)
    factors = np.stack([draw_stain_factors(rng, stain_jitter) for _ in range(rows)])
    slides = np.stack([empty_slide(image) for image in images])

    def augment_all(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        flat = array.reshape(-1, *array.shape[-3:])
        each, slide = (np.repeat(of, len(flat) // rows, axis=0) for of in (factors, slides))
        return augment(flat, rng, zoom=zoom, factors=each, slides=slide).reshape(array.shape)

    return keras.tree.map_structure(augment_all, inputs)
