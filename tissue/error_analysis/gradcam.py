"""Where a network looked: Grad-CAM for two classes of each image.

Selvaraju et al. 2017, arXiv 1610.02391: the sum of the maps of the last convolution, each weighted
by the mean gradient of a class's score; only what raises the score is kept.
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
from tissue.data.features import read_features
from tissue.data.index import Dataset, locate_rows
from tissue.data.shards import RowSelection
from tissue.error_analysis.table import HEAT_SIDE
from tissue.training.inference import is_fine_tuned

BATCH = 8  # another batch size changes the last bits
Heat = NDArray[np.uint8]
Images = NDArray[np.uint8] | RowSelection


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
        errors: `model`, `id`, `predicted` and `class`, one row per error.
        test: the test set.
        embed: the folder that `embed` wrote.
        classes: all class names.
    """
    columns = [pd.Index(classes).get_indexer(errors[name]) for name in ("predicted", "class")]
    labels = np.column_stack(columns)
    heat = np.zeros((len(errors), 2, HEAT_SIDE, HEAT_SIDE), np.uint8)
    for model, network in networks.items():
        mine = np.flatnonzero(errors["model"] == model)
        if network.name == "head" or not len(mine):
            continue
        ids = errors["id"].iloc[mine]
        rows = locate_rows(ids, test.index, what="data/split/test")
        images, features = RowSelection(test.images, rows), None
        if model == "pretrained" and is_fine_tuned(network):
            crops = None if test.crops is None else RowSelection(test.crops, rows)
            features = own_features(network, images, crops)
        elif model == "pretrained":
            # The first view is the image as it is.
            features = np.stack([views[0] for views in read_features(ids, "test", embed)])
        heat[mine] = heat_maps(network, images, labels[mine], features)
    return heat


def own_features(network: keras.Model, images: Images, crops: Images | None) -> NDArray[np.float32]:
    """Return the features float32 (N, D') of a fine-tuned network, whose cached ones are others.

    Images are uint8 (N, S, S, 3), crops uint8 (N, C, S, S, 3) or None.
    """
    features = []
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        magnified = None if crops is None else np.asarray(crops[rows])
        backbone = network.get_layer("backbone")
        features.append(embed_batch(backbone, np.asarray(images[rows]), magnified, views=1)[:, 0])
    return np.concatenate(features)


def heat_maps(
    network: keras.Model,
    images: Images,
    labels: NDArray[np.int64],
    features: NDArray[np.float32] | None = None,
) -> Heat:
    """Return heat uint8 (N, K, 28, 28), each map from 0 to 255 or 0 everywhere.

    Images are uint8 (N, S, S, 3), labels int (N, K). With features (N, D'), the layers `backbone`
    and `head` of the network are used: the features of whole images, which come first, follow the
    maps, and the others, of crops, stay constant.
    """
    heat = np.zeros((*labels.shape, HEAT_SIDE, HEAT_SIDE), np.uint8)
    body = network if features is None else network.get_layer("backbone")
    to_maps, to_output = split_at_maps(body)
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        batch = tf.constant(np.asarray(images[rows]), tf.float32)
        maps = to_maps(batch)
        # The tape records only what follows the maps: no gradient is needed before.
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(maps)
            output = to_output(batch, maps)
            if features is not None:
                joined = tf.concat([output, features[rows, output.shape[-1] :]], axis=1)
                output = network.get_layer("head")(joined, training=False)
            # Log probabilities minus their mean are the centred scores before softmax. Unlike
            # probabilities, they do not saturate where the network is confident.
            logs = tf.math.log(output + 1e-30)
            scores = logs - tf.reduce_mean(logs, axis=1, keepdims=True)
            chosen = [tf.gather(scores, k, axis=1, batch_dims=1) for k in labels[rows].T]
        for k, score in enumerate(chosen):
            heat[rows, k] = _heat(maps, tape.gradient(score, maps))
    return heat


def _heat(maps: Any, gradients: Any) -> Heat:
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
    cam = tf.image.resize(cam, (HEAT_SIDE, HEAT_SIDE))[..., 0].numpy()
    highest = cam.max(axis=(1, 2), keepdims=True)
    return np.rint(255 * cam / np.where(highest > 0, highest, 1)).astype(np.uint8)


def split_at_maps(network: keras.Model) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """Return two functions: from images to the last maps (N, h, w, C), and on to the output.

    The second takes images and maps, since features of several strides bypass the last maps.

    The last maps are the input of the last global pooling. If a network has none, but is a chain of
    layers around another network, as a backbone with its preprocessing is, they are those of the
    inner network.

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
    to_maps, to_output = split_at_maps(inner[-1])
    return (
        lambda images: to_maps(_chain(before, images)),
        lambda images, maps: _chain(after, to_output(_chain(before, images), maps)),
    )


def _chain(layers: list[Any], values: Any) -> Any:
    for layer in layers:
        values = layer(values, training=False)
    return values
