"""The small residual network that is trained from scratch."""

import keras
from keras import layers

from stages.params.schema import Scratch


def build_scratch(
    settings: Scratch, *, image_size: int | None, classes: int, synchronized: bool = False
) -> keras.Model:
    """Build the network: images in [0, 255] (N, S, S, 3) to class probabilities (N, classes).

    A stem of 3x3 convolutions, the first of which halves the side, and a maximum that halves it
    again: tissue is told apart by fine texture, which one coarse convolution would blur.
    Residual blocks (He et al. 2016, arXiv 1512.03385) of two 3x3 convolutions with batch
    normalisation, each at half the side and twice the channels of the one before, up to
    `max_width`, then global pooling: at a thousand images a dense layer over the whole map learns
    it by heart. With `all_blocks` the averages of the maps of all blocks are classified together,
    and the maxima of the last: fine texture beside coarse structure.

    With `image_size` None it takes images of any side as they are, for training at several.
    With `synchronized`, batch normalisation is over the batches of all devices that train together.
    """
    images = keras.Input((image_size, image_size, 3), name="image")
    shrink = layers.Resizing(
        settings.input_size, settings.input_size, antialias=True, name="shrink"
    )
    x = images if image_size in (None, settings.input_size) else shrink(images)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(x)
    norm = {"synchronized": synchronized}
    x = _convolve(x, settings.stem_width, kernel=3, strides=2, name="stem1", **norm)
    for number in range(2, settings.stem_layers + 1):
        x = _convolve(x, settings.stem_width, kernel=3, strides=1, name=f"stem{number}", **norm)
    x = layers.MaxPooling2D(2, name="stem_pool")(x)
    maps = []
    for block in range(settings.blocks):
        filters = min(settings.width * 2**block, settings.max_width)
        x = _block(x, filters, strides=1 if block == 0 else 2, name=f"block{block + 1}", **norm)
        maps.append(x)
    x = _pool(maps, settings.pooling)
    x = layers.Dropout(settings.dropout, name="dropout")(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(images, probabilities, name="scratch")


def _pool(maps: list[keras.KerasTensor], pooling: str) -> keras.KerasTensor:
    if pooling == "average":
        return layers.GlobalAveragePooling2D(name="features")(maps[-1])
    averaged = maps if pooling == "all_blocks" else maps[-1:]
    pooled = [layers.GlobalMaxPooling2D(name="maximum")(maps[-1])]
    for number, x in enumerate(averaged, start=1):
        pooled.append(layers.GlobalAveragePooling2D(name=f"average{number}")(x))
    return layers.Concatenate(name="features")(pooled)


def _block(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str, synchronized: bool
) -> keras.KerasTensor:
    plain = {"activate": False, "synchronized": synchronized}
    residual = _convolve(
        x, filters, kernel=3, strides=strides, name=f"{name}_a", synchronized=synchronized
    )
    residual = _convolve(residual, filters, kernel=3, strides=1, name=f"{name}_b", **plain)
    if strides != 1:
        # A strided 1x1 convolution would skip three of four pixels (He et al. 2019, 1812.01187).
        x = layers.AveragePooling2D(strides, padding="same", name=f"{name}_shrink")(x)
    if x.shape[-1] != filters:
        x = _convolve(x, filters, kernel=1, strides=1, name=f"{name}_skip", **plain)
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _convolve(
    x: keras.KerasTensor,
    filters: int,
    *,
    kernel: int,
    strides: int,
    name: str,
    synchronized: bool,
    activate: bool = True,
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)  # fmt: skip
    # 20 steps an epoch are too few for the default momentum of 0.99.
    x = layers.BatchNormalization(momentum=0.9, synchronized=synchronized, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x) if activate else x
