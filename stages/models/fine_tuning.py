"""Training of the top of a backbone together with its head."""

from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd
from keras import layers
from numpy.typing import NDArray

from stages.cli.running import InputError
from stages.dataset.index import Part
from stages.models.augmentation import augment
from stages.models.training import Batches, fit, validation_loss
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
    logs: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train the head and the top layers of the backbone on images; return the history.

    Discriminative learning rates (Howard and Ruder 2018, arXiv 1801.06146): that of the head times
    `fine_tune_lr_factor` at the top of the backbone, and `fine_tune_decay` times as much in each
    layer as in the one above. Batch normalisation stays frozen. Where no epoch has a lower
    validation loss than the network had before, its weights of before are kept, and it is said.

    Raises:
        InputError: if none of the top layers has weights.
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
    classes = network.output_shape[-1]
    unseen = Batches(Scales(val), val.labels, classes=classes, batch_size=batch_size)
    kept, before = network.get_weights(), validation_loss(network, unseen)
    table = fit(
        network,
        Batches(
            Scales(train), train.labels, classes=classes, batch_size=batch_size, seed=seed,
            change=_turn,
        ),
        unseen,
        lr=lr,
        lr_factors=factors,
        epochs=settings.fine_tune_epochs,
        patience=settings.patience,
        name="fine_tune",
        logs=logs,
    )  # fmt: skip
    if (best := table["val_loss"].min()) >= before:
        network.set_weights(kept)
        print(
            f"fine_tune: the lowest validation loss of an epoch, {best:.3f}, is not below that of "
            f"the head alone, {before:.3f}, so that the network stays as it was"
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
    """Rows of the whole images of a part and of their crops, named as the inputs of the model."""

    def __init__(self, part: Part) -> None:
        """Read from the arrays of `part` when rows are asked for."""
        self.arrays = {"image": part.images}
        if part.crops is not None:
            self.arrays["crops"] = part.crops

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.arrays["image"])

    def __getitem__(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
        """Return some of the images and their crops."""
        return {name: np.asarray(array[rows]) for name, array in self.arrays.items()}


def _turn(
    inputs: dict[str, NDArray[np.uint8]], rng: np.random.Generator
) -> dict[str, NDArray[np.uint8]]:
    turned = {}
    for name, array in inputs.items():
        flat = array.reshape(-1, *array.shape[-3:])
        turned[name] = augment(flat, rng, zoom=0.0, stain_jitter=0.0).reshape(array.shape)
    return turned
