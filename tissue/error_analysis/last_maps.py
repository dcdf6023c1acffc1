"""A network cut at its last maps, where Grad-CAM looks, and the tiles that crops show."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment

from tissue.common.stains import BRIGHT_SHARE, DARKEST_SLIDE

LEAST_SIDE = 14  # cells of maps that are fine enough; benchmarks/results/gradcam.md compares
BLOCK = r"block\d+_relu"  # the output of a block of `build_scratch`
Parts = tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]
Maps = NDArray[np.float32]
THUMBNAIL = 16  # pixels of a tile by which crops are located


class CutNetwork(NamedTuple):
    """A network cut at its last maps, and the maps (N, h, w, C) of the empty slide of each image.

    An empty slide looks the same in each view and crop. The network has `width` outputs.
    """

    to_maps: Callable[[Any], Any]
    to_output: Callable[[Any, Any], Any]
    empty: Any
    width: int

    def contributions(
        self, images: NDArray[np.uint8], score: Callable[[Any], Any]
    ) -> tuple[Maps, Maps]:
        """Return what each place adds to a score, (N, h, w), in the mean, and the score (N,)."""
        batch = tf.constant(np.ascontiguousarray(images), tf.float32)
        maps = self.to_maps(batch)
        # The tape records only what follows the maps: no gradient is needed before.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(maps)
            scores = score(self.to_output(batch, maps))
        added = tf.reduce_sum((maps - self.empty) * tape.gradient(scores, maps), axis=-1).numpy()
        return added * added[0].size, scores.numpy()


def empty_slides(images: NDArray[np.uint8]) -> Any:
    """Return images of the empty slide behind each of uint8 (N, S, S, 3), as float32."""
    light = np.quantile(images, BRIGHT_SHARE, axis=(1, 2), keepdims=True)
    return tf.constant(np.broadcast_to(np.maximum(light, DARKEST_SLIDE), images.shape), tf.float32)


def cut_network(parts: Parts, slides: Any) -> CutNetwork:
    """Return a network that is cut in two, with its maps of empty slides (N, S, S, 3)."""
    to_maps, to_output = parts
    empty = to_maps(slides)
    return CutNetwork(to_maps, to_output, empty, to_output(slides, empty).shape[-1])


def split_each(network: keras.Model) -> list[Parts]:
    """Return `split_at_maps` of each of the networks side by side in a backbone of several.

    Their outputs follow each other in that of the backbone.
    """
    inner = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    if len(inner) < 2:
        return [split_at_maps(network)]
    images = keras.Input(network.input_shape[1:])
    scaled = _chain(network.layers[1 : network.layers.index(inner[0])], images)
    return [
        split_at_maps(keras.Model(images, one(scaled, training=False), name=network.name))
        for one in inner
    ]


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
        # Compiled, a pass takes half the time.
        return (
            tf.function(lambda images: first(images, training=False)),
            tf.function(lambda images, maps: second([images, maps], training=False)),
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


def locate_crops(
    images: NDArray[np.uint8], crops: NDArray[np.uint8], *, zoom: int
) -> NDArray[np.int64]:
    """Return which of the zoom x zoom tiles of its image each crop shows, in reading order.

    `split` keeps the crops with the most tissue, and not their places. So crops are assigned to the
    tiles that they differ least from, each to another one.

    Args:
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3).
        zoom: magnification of the crops.

    Returns:
        Numbers of tiles, int64 (N, C).
    """
    if crops.shape[1] == zoom**2:  # there is no choice
        return np.tile(np.arange(zoom**2), (len(images), 1))
    places = np.zeros(crops.shape[:2], np.int64)
    for row, (image, some) in enumerate(zip(images, crops, strict=True)):
        small = _shrink(image, zoom * THUMBNAIL)
        tiles = small.reshape(zoom, THUMBNAIL, zoom, THUMBNAIL, 3).swapaxes(1, 2)
        shown = np.stack([_shrink(crop, THUMBNAIL).ravel() for crop in some])
        differences = shown[:, None] - tiles.reshape(1, zoom**2, -1)
        places[row] = linear_sum_assignment((differences**2).sum(axis=2))[1]
    return places


def _shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def tile_slices(place: int, zoom: int, side: int) -> tuple[slice, slice]:
    """Return the rows and columns of a tile in a map of `side` cells."""
    edges = np.rint(np.linspace(0, side, zoom + 1)).astype(int)
    row, column = divmod(place, zoom)
    return slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1])


def resize_maps(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a map float32 (h, w) at another size, smoothly, with the same mean."""
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    resized = np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
    return resized + (values.mean() - resized.mean())
