"""A network cut at its last maps, where Grad-CAM looks."""

import re
from collections.abc import Callable
from typing import Any

import keras

LEAST_SIDE = 14  # cells of maps that are fine enough; benchmarks/results/gradcam.md compares
BLOCK = r"block\d+_relu"  # the output of a block of `build_scratch`
Parts = tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]


def split_at_maps(network: keras.Model) -> Parts:
    """Return two functions: from images to the last maps (N, h, w, C), and on to the output.

    The second takes images and maps, since features of several strides bypass the last maps.

    The last maps are the input of the last global pooling; in the network from scratch, they are
    the output of the last block with at least 14 x 14 cells. If a network has no such layer, but is
    a chain of layers around another network, as a backbone with its preprocessing is, they are
    those of the inner network.

    Raises:
        ValueError: if nothing is pooled globally.
    """
    kinds = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    pooled = [layer for layer in network.layers if isinstance(layer, kinds)]
    if pooled:
        maps = _fine_maps(network, pooled[-1].input)
        first = keras.Model(network.inputs, maps)
        second = keras.Model([*network.inputs, maps], network.outputs[0])
        return (
            lambda images: first(images, training=False),
            lambda images, maps: second([images, maps], training=False),
        )
    inner = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    if not inner:
        raise ValueError(
            f"Grad-CAM: expected a network with global pooling. Received: {network.name}, whose "
            f"last layer is {network.layers[-1].name}."
        )
    position = network.layers.index(inner[-1])
    before, after = network.layers[1:position], network.layers[position + 1 :]
    to_maps, to_output = split_at_maps(inner[-1])
    return (
        lambda images: to_maps(_chain(before, images)),
        lambda images, maps: _chain(after, to_output(_chain(before, images), maps)),
    )


def _fine_maps(network: keras.Model, last: Any) -> Any:
    """Return the last maps, or those of the last block of `build_scratch` that is fine enough.

    If none is, those of the first block, which is the finest.
    """
    blocks = [layer.output for layer in network.layers if re.fullmatch(BLOCK, layer.name)]
    fine = [maps for maps in blocks if (maps.shape[1] or 0) >= LEAST_SIDE]
    return [last, *blocks[:1], *fine][-1]


def _chain(layers: list[Any], values: Any) -> Any:
    for layer in layers:
        values = layer(values, training=False)
    return values
