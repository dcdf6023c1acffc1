"""The small residual network that is trained from scratch, and its training."""

from collections.abc import Sequence
from functools import partial

import keras
import pandas as pd
from keras import layers, ops
from keras.utils import to_categorical

from tissue.common.augmentation import augment, shrink
from tissue.common.errors import InputError
from tissue.config.schema import Params, Scratch
from tissue.data.index import Dataset
from tissue.training.averaging import update_bn
from tissue.training.batches import Batches
from tissue.training.imbalance import balance_classes
from tissue.training.loop import FitSettings, Phase, fit

STEM_CHANNELS = 16
# Shares of the light: what glass absorbs at most, and what tissue absorbs beyond it at least.
GLASS, TISSUE = 0.06, 0.2


def train_network(
    params: Params,
    train: Dataset,
    val: Dataset,
    *,
    classes: int,
    several_gpus: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[keras.Model, pd.DataFrame]:
    """Train the network on shrunk images, which is cheaper than shrinking them inside.

    Args:
        params: `scratch`, `seed`, `lr`, `batch_size` and `class_weights` are used.
        train: images to train on.
        val: images for the validation curves.
        classes: number of classes.
        several_gpus: whether several GPUs train, which then share the statistics of each batch.
        callbacks: called in every epoch.

    Returns:
        The network, which takes images as large as those of `train`, and its history as from `fit`.
    """
    settings = params.scratch
    small = build_scratch(settings, image_size=None, classes=classes, synchronized=several_gpus)
    check_network(small)
    fit_settings = FitSettings(
        lr=params.lr * settings.lr_factor, average=settings.average, warm_up=settings.warm_up,
        label_smoothing=settings.label_smoothing,
        balance=balance_classes(train.labels, params.class_weights, classes=classes),
    )  # fmt: skip
    phases = _progressive_phases(params, train, val, classes=classes)
    history = fit(small, phases, fit_settings, name="train_scratch", callbacks=callbacks)
    network = build_scratch(settings, image_size=train.images.shape[1], classes=classes)
    network.set_weights(small.get_weights())
    # Whole, as new images are: crops have less empty slide around the tissue. And at their size,
    # since the network shrinks images itself and thereby makes them less sharp.
    update_bn(network, _augmented(params, train, classes=classes, zoom=0.0))
    return network, history


def check_network(network: keras.Model) -> None:
    """Raise an `InputError`, before it is trained, if a later stage cannot use a network."""
    pooling = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    last = network.layers[-1]
    if not isinstance(last, layers.Dense) or last.activation is not keras.activations.softmax:
        raise InputError(
            "build_scratch: expected Dense with softmax as the last layer, which calibration "
            f"scales. Received: {type(last).__name__} {last.name}."
        )
    if not any(isinstance(layer, pooling) for layer in network.layers):
        raise InputError(
            "build_scratch: expected GlobalAveragePooling2D or GlobalMaxPooling2D, before which "
            "Grad-CAM looks. Received: a network without."
        )


def _progressive_phases(
    params: Params, train: Dataset, val: Dataset, *, classes: int
) -> list[Phase]:
    """Return phases with growing images (progressive learning, Tan and Le 2021, arXiv 2104.00298).

    No weight depends on the side of the images. Crops enlarge what they show, so whole images are
    seen at a larger side than crops (Touvron et al. 2019, arXiv 1906.06423).
    """
    settings = params.scratch

    def phase(side: int, start: int, end: int) -> Phase:
        validation = Batches(
            val.images, to_categorical(val.labels, classes), batch_size=params.batch_size,
            transform=lambda images, _: shrink(images, side),
        )  # fmt: skip
        training = _augmented(
            params, train, classes=classes, zoom=settings.zoom, side=side, epoch=start
        )
        return Phase(end - start, training, validation)

    sides = [round(share * settings.input_size) for share in settings.progressive or [1.0]]
    starts = [number * (settings.epochs // len(sides)) for number in range(len(sides))]
    spans = zip(sides, starts, [*starts[1:], settings.epochs], strict=True)
    # With fewer epochs than sides, only the last has any.
    return [phase(side, start, end) for side, start, end in spans if end > start]


def _augmented(
    params: Params,
    train: Dataset,
    *,
    classes: int,
    zoom: float,
    side: int | None = None,
    epoch: int = 0,
) -> Batches:
    return Batches(
        train.images, to_categorical(train.labels, classes), batch_size=params.batch_size,
        seed=params.seed, epoch=epoch, least=params.scratch.epoch_images,
        transform=partial(
            augment, zoom=zoom, stain_jitter=params.scratch.stain_jitter, size=side
        ),
    )  # fmt: skip


def build_scratch(
    settings: Scratch, *, image_size: int | None, classes: int, synchronized: bool = False
) -> keras.Model:
    """Build the network: images in [0, 255] (N, S, S, 3) to class probabilities (N, classes).

    The stem has two 3x3 convolutions, since one coarse convolution would blur the fine texture that
    distinguishes tissues. Residual blocks (He et al. 2016, arXiv 1512.03385) of two 3x3
    convolutions with batch normalisation follow, each at half the side and with twice the channels
    of the one before, up to `max_width`; then the average over the tissue, because a dense layer
    over the whole map memorises a thousand images.

    Neither how strongly a slide is stained nor how much glass is around the tissue reaches the
    first layer or the last: both change from one antibody and one core to the next.

    Without an `image_size` S it takes images of any side and does not shrink them. `synchronized`
    batch normalisation spans all devices.
    """
    images = keras.Input((image_size, image_size, 3), name="image")
    resize = layers.Resizing(
        settings.input_size, settings.input_size, antialias=True, name="shrink"
    )
    x = images if image_size in (None, settings.input_size) else resize(images)
    absorbed = absorption(x)
    x = equalise(absorbed)
    norm = {"synchronized": synchronized}
    x = _convolve(x, STEM_CHANNELS, strides=2, name="stem1", **norm)
    x = _convolve(x, STEM_CHANNELS, name="stem2", **norm)
    x = layers.MaxPooling2D(2, name="stem_pool")(x)
    for block in range(settings.blocks):
        filters = min(settings.width * 2**block, settings.max_width)
        x = _block(x, filters, strides=1 if block == 0 else 2, name=f"block{block + 1}", **norm)
    x = _pool_tissue(x, absorbed, blocks=settings.blocks)
    x = layers.Dropout(settings.dropout, name="dropout")(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(images, probabilities, name="scratch")


def absorption(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return the share of light (N, S, S, 3) that tissue absorbs in images in [0, 255]; glass: 0.

    The padding of convolutions is then like glass.
    """
    light = layers.Rescaling(1 / 255, name="scale")(images)
    return ops.relu(1 - GLASS - light)


def equalise(absorbed: keras.KerasTensor) -> keras.KerasTensor:
    """Divide absorption (N, S, S, 3) by its mean over each image, in which it is the weight.

    Unlike the plain mean, this one is the same with more glass around the tissue. The constant
    keeps images with next to nothing on them as faint as they are.
    """
    total, squares = (
        ops.sum(ops.mean(absorbed, axis=-1, keepdims=True) ** power, axis=(1, 2), keepdims=True)
        for power in (1, 2)
    )
    return absorbed / (squares / (total + 1e-3) + 0.05)


def _pool_tissue(
    x: keras.KerasTensor, absorbed: keras.KerasTensor, *, blocks: int
) -> keras.KerasTensor:
    """Return the mean of maps over the tissue, (N, C)."""
    tissue = ops.clip(ops.mean(absorbed, axis=-1, keepdims=True) / TISSUE, 0, 1)
    for number in range(blocks + 1):  # halved as the maps were
        padding = "valid" if number == 1 else "same"
        tissue = layers.AveragePooling2D(2, padding=padding, name=f"tissue{number + 1}")(tissue)
    tissue = tissue + 0.02  # where there is none, all counts alike
    weighted = layers.GlobalAveragePooling2D(name="weighted")(x * tissue)
    return weighted / ops.mean(tissue, axis=(1, 2))


def _block(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str, synchronized: bool
) -> keras.KerasTensor:
    norm = {"synchronized": synchronized}
    residual = _convolve(x, filters, strides=strides, name=f"{name}_a", **norm)
    residual = _convolve(residual, filters, name=f"{name}_b", activate=False, **norm)
    if strides != 1:
        # A strided 1x1 convolution would skip three of four pixels (He et al. 2019, 1812.01187).
        x = layers.AveragePooling2D(strides, padding="same", name=f"{name}_shrink")(x)
    if x.shape[-1] != filters:
        x = _convolve(x, filters, kernel=1, name=f"{name}_skip", activate=False, **norm)
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _convolve(
    x: keras.KerasTensor,
    filters: int,
    *,
    kernel: int = 3,
    strides: int = 1,
    name: str,
    synchronized: bool,
    activate: bool = True,
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)  # fmt: skip
    # An epoch has only about 20 steps, too few for the default momentum of 0.99.
    x = layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x) if activate else x
