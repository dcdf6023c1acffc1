"""Where a network looked: Grad-CAM for two classes an image.

Selvaraju et al. 2017, arXiv 1610.02391: the maps of the last convolution, each weighted by the
mean gradient of a class's score, added up, and what speaks for the class kept.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from tissue.backbones.embedding import embed_batch
from tissue.data.features import flatten_views, read_features
from tissue.data.index import Dataset, locate_rows
from tissue.data.shards import RowSelection
from tissue.error_analysis.table import HEAT_SIDE
from tissue.training.inference import is_fine_tuned

BATCH = 8  # with another one the last bits differ
Heat = NDArray[np.uint8]
Start = Callable[[Any], Any]  # from images to maps
Rest = Callable[[Any, Any], Any]  # from images and maps to what comes out


def error_heat(
    networks: Mapping[str, keras.Model],
    errors: pd.DataFrame,
    test: Dataset,
    embed: Path,
    *,
    classes: Sequence[str],
) -> Heat:
    """Return heat uint8 (E, 2, 28, 28) for the predicted and the true class of each error.

    A network without a backbone inside, whose features come from elsewhere, has no maps: its heat
    is 0 everywhere.

    Args:
        networks: `scratch` and `pretrained`.
        errors: a row an error: `model`, `id`, `predicted`, `class`.
        test: the test part.
        embed: the folder that `embed` wrote.
        classes: all class names.
    """
    heat = np.zeros((len(errors), 2, HEAT_SIDE, HEAT_SIDE), np.uint8)
    labels = np.column_stack(
        [pd.Index(classes).get_indexer(errors[name]) for name in ("predicted", "class")]
    )
    for model, network in networks.items():
        mine = np.flatnonzero(errors["model"] == model)
        ids = errors["id"].iloc[mine]
        rows = locate_rows(ids, test.index, what="data/split/test")
        images = RowSelection(test.images, rows)
        if model == "scratch":
            heat[mine] = scratch_heat(network, images, labels[mine])
        elif any(layer.name == "backbone" for layer in network.layers):
            if is_fine_tuned(network):
                crops = None if test.crops is None else RowSelection(test.crops, rows)
                features = own_features(network, images, crops)
            else:
                cached = read_features(ids, "test", embed)
                # Of the picture as it is, which is the first view.
                features = flatten_views(cached)[np.arange(len(cached)) * cached.shape[1]]
            heat[mine] = pretrained_heat(network, images, labels[mine], features)
    return heat


def own_features(
    network: keras.Model,
    images: NDArray[np.uint8] | RowSelection,
    crops: NDArray[np.uint8] | RowSelection | None,
) -> NDArray[np.float32]:
    """Return the features float32 (N, D') of a fine-tuned network: cached ones are of another.

    Args:
        network: as saved by `train_pretrained`.
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), or None.
    """
    backbone = network.get_layer("backbone")
    width = backbone.output_shape[-1] * (1 if crops is None else 2)
    features = np.zeros((len(images), width), np.float32)
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        magnified = None if crops is None else np.asarray(crops[rows])
        features[rows] = embed_batch(backbone, np.asarray(images[rows]), magnified, views=1)[:, 0]
    return features


def split_at_maps(network: keras.Model) -> tuple[Start, Rest]:
    """Return a network in two: from images to its last maps (N, h, w, C), and on to its output.

    The second takes the images, too, where features of several strides bypass these maps.

    The last maps are what the last global pooling takes in. Where a network has none and
    is a chain of layers that holds another network, as a backbone with its preprocessing is, they
    are the inner one's.

    Raises:
        ValueError: if nothing is pooled globally.
    """
    kinds = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    pooled = [layer for layer in network.layers if isinstance(layer, kinds)]
    if pooled:
        maps = pooled[-1].input
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
    start, rest = split_at_maps(inner[-1])
    return (
        lambda images: start(_chain(before, images)),
        lambda images, maps: _chain(after, rest(_chain(before, images), maps)),
    )


def _chain(layers: list[Any], values: Any) -> Any:
    for layer in layers:
        values = layer(values, training=False)
    return values


def scratch_heat(
    network: keras.Model, images: NDArray[np.uint8] | RowSelection, labels: NDArray[np.int64]
) -> Heat:
    """Return heat uint8 (N, K, 28, 28) of a network from images (N, S, S, 3) to probabilities.

    Args:
        network: as saved by `train_scratch`.
        images: uint8 (N, S, S, 3), not turned.
        labels: int (N, K), the classes to explain for each image.
    """
    start, rest = split_at_maps(network)
    return _in_batches(start, lambda batch, maps, rows: rest(batch, maps), images, labels)


def pretrained_heat(
    network: keras.Model,
    images: NDArray[np.uint8] | RowSelection,
    labels: NDArray[np.int64],
    features: NDArray[np.float32],
) -> Heat:
    """Return heat as `scratch_heat`, of a network with the layers `backbone` and `head`.

    Features that are not of the whole picture, as those of crops, stay as they are.

    Args:
        network: as saved by `train_pretrained`.
        images: uint8 (N, S, S, 3), not turned.
        labels: int (N, K), the classes to explain for each image.
        features: (N, D') of these images, of which those of the whole picture come first.
    """
    backbone, head = network.get_layer("backbone"), network.get_layer("head")
    (start, rest), width = split_at_maps(backbone), backbone.output_shape[-1]

    def whole(batch: Any, maps: Any, rows: slice) -> Any:
        own = rest(batch, maps)
        return head(tf.concat([own, features[rows, width:]], axis=1), training=False)

    return _in_batches(start, whole, images, labels)


def _in_batches(
    start: Start,
    rest: Callable[[Any, Any, slice], Any],
    images: NDArray[np.uint8] | RowSelection,
    labels: NDArray[np.int64],
) -> Heat:
    heat = np.zeros((*labels.shape, HEAT_SIDE, HEAT_SIDE), np.uint8)
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        # The tape sees what follows the maps only: further back no gradient is asked for.
        batch = tf.constant(np.asarray(images[rows]), tf.float32)
        maps = start(batch)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(maps)
            probabilities = rest(batch, maps, rows)
            # Log probabilities less their mean are the scores before softmax less theirs. So they
            # do not level off where the network is sure, as probabilities do.
            logs = tf.math.log(probabilities + 1e-30)
            scores = logs - tf.reduce_mean(logs, axis=1, keepdims=True)
            chosen = [tf.gather(scores, k, axis=1, batch_dims=1) for k in labels[rows].T]
        for k, score in enumerate(chosen):
            heat[rows, k] = _heat(maps, tape.gradient(score, maps))
    return heat


def _heat(maps: Any, gradients: Any) -> Heat:
    """Heat uint8 (N, 28, 28), each map from 0 to its own highest value, or nothing but 0."""
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
    cam = tf.image.resize(cam, (HEAT_SIDE, HEAT_SIDE))[..., 0].numpy()
    highest = cam.max(axis=(1, 2), keepdims=True)
    return np.rint(255 * cam / np.where(highest > 0, highest, 1)).astype(np.uint8)
