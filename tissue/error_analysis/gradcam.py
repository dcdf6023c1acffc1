"""Why one class rather than another: Grad-CAM of the log odds of two classes, over all views.

A model averages its dihedral views, and the pretrained one also sees crops. So each view and each
crop is explained, turned back and put in its place. A place of a map counts by its gradients times
the difference of its activations from those of an empty slide (HiResCAM, Draelos and Carin 2020,
arXiv 2011.08891, with a reference). Where the maps are averaged and a linear layer follows, the
weights are those of Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391), and the places add up to
how far the log odds differ from those of the empty slide.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from tissue.common.augmentation import dihedral, undo_dihedral
from tissue.common.files import read_json, reading
from tissue.data.features import read_features, read_network
from tissue.data.index import PREPARATION_FILE, Dataset, locate_rows
from tissue.data.shards import RowSelection
from tissue.error_analysis.last_maps import (
    CutNetwork,
    Maps,
    cut_network,
    empty_slides,
    locate_crops,
    resize_maps,
    split_at_maps,
    split_each,
    tile_slices,
)
from tissue.error_analysis.table import HEAT_SIDE

BATCH = 8  # another batch size changes the last bits
LEAST = 1e-30  # probability whose logarithm is finite
Images = NDArray[np.uint8] | RowSelection


class Decisions(NamedTuple):
    """What speaks for the first of two classes, and for the second.

    `heat` is uint8 (N, 2, 28, 28): the places that favour the first class, and those that favour
    the second, both from 0 to 255 on one scale. `branches` are float32 (N, 2), the log odds that
    the whole image and the crops add to those of the average training image; both are nan for a
    network without branches.
    """

    heat: NDArray[np.uint8]
    branches: NDArray[np.float32]


class Views(NamedTuple):
    """How a model looks at an image: the number of dihedral views, and the zoom of the crops."""

    number: int
    zoom: int


def views_of(split: Path, embed: Path, *, scratch: int) -> dict[str, Views]:
    """Return how each model looks at the images of these folders; `scratch` is its count."""
    with reading(split / PREPARATION_FILE):
        zoom = int(read_json(split / PREPARATION_FILE)["split.crops"]["zoom"])
    pretrained = Views(read_network(embed)["views"], zoom)
    return {"scratch": Views(scratch, zoom), "pretrained": pretrained}


def explain_errors(
    networks: Mapping[str, keras.Model],
    errors: pd.DataFrame,
    test: Dataset,
    embed: Path,
    *,
    classes: Sequence[str],
    views: Mapping[str, Views],
) -> Decisions:
    """Explain each error: the predicted class against the true one.

    A network without a backbone inside, whose features come from elsewhere, has no maps: its heat
    is 0 everywhere, and its branches are those of the cached features.

    Args:
        networks: `scratch` and `pretrained`.
        errors: `model`, `id`, `predicted` and `class`, one row per error.
        test: the test set.
        embed: the folder that `embed` wrote.
        classes: all class names.
        views: of each network.
    """
    columns = [pd.Index(classes).get_indexer(errors[name]) for name in ("predicted", "class")]
    pairs, found = np.column_stack(columns), _nothing(len(errors))
    for model, network in networks.items():
        if not len(mine := np.flatnonzero(errors["model"] == model)):
            continue
        ids = errors["id"].iloc[mine]
        if network.name == "head":
            features = np.stack([each.mean(axis=0) for each in read_features(ids, "test", embed)])
            width = features.shape[1] // (1 if test.crops is None else 2)
            found.branches[mine] = _branches(network, features, pairs[mine], width)
            continue
        rows = locate_rows(ids, test.index, what="data/split/test")
        crops = None if test.crops is None else RowSelection(test.crops, rows)
        images = RowSelection(test.images, rows)
        explained = explain_decisions(network, images, crops, pairs[mine], views=views[model])
        found.heat[mine], found.branches[mine] = explained
    return found


def _nothing(count: int) -> Decisions:
    heat = np.zeros((count, 2, HEAT_SIDE, HEAT_SIDE), np.uint8)
    return Decisions(heat, np.full((count, 2), np.nan, np.float32))


def explain_decisions(
    network: keras.Model,
    images: Images,
    crops: Images | None,
    pairs: NDArray[np.int64],
    *,
    views: Views,
) -> Decisions:
    """Explain why a network prefers one class to another.

    Images are uint8 (N, S, S, 3), crops uint8 (N, C, S, S, 3) or None, and pairs int (N, 2) the two
    classes.
    """
    found = _nothing(len(pairs))
    has_backbone = any(layer.name == "backbone" for layer in network.layers)
    cut = split_each(network.get_layer("backbone")) if has_backbone else [split_at_maps(network)]
    for first in range(0, len(images), BATCH):
        rows = slice(first, first + BATCH)
        whole, labels = np.asarray(images[rows]), pairs[rows]
        slides = empty_slides(whole)
        each = [cut_network(parts, slides) for parts in cut]
        if has_backbone:
            magnified = None if crops is None else np.asarray(crops[rows])
            head = network.get_layer("head")
            canvas, found.branches[rows] = _both_scales(
                each, head, whole, magnified, labels, views=views
            )
        else:
            score = partial(_log_odds, pairs=labels)
            canvas, _ = _over_views(each[0], whole, score, count=views.number)
        peak = np.abs(canvas).max(axis=(1, 2), keepdims=True)
        signed = 255 * canvas / np.where(peak > 0, peak, 1)
        for side, sign in enumerate((1, -1)):
            found.heat[rows, side] = np.rint(np.maximum(sign * signed, 0)).astype(np.uint8)
    return found


def _both_scales(
    each: Sequence[CutNetwork],
    head: keras.Model,
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    pairs: NDArray[np.int64],
    *,
    views: Views,
) -> tuple[Maps, Maps]:
    """Return maps (N, 28, 28) and the log odds (N, 2) of both branches, sums over the backbones."""
    weights, mean = _linear(head, pairs)
    width = weights.shape[1] // (1 if crops is None else 2)
    canvas = np.zeros((len(images), HEAT_SIDE, HEAT_SIDE), np.float32)
    branches, start = np.zeros((len(images), 2), np.float32), 0
    tiles = None if crops is None else locate_crops(images, crops, zoom=views.zoom)
    for network in each:
        columns = slice(start, start + network.width)
        score = _weighted(weights[:, :width][:, columns])
        maps, scores = _over_views(network, images, score, count=views.number)
        canvas, branches[:, 0] = canvas + maps, branches[:, 0] + scores
        if crops is not None:
            score = _weighted(weights[:, width:][:, columns])
            branches[:, 1] += _add_crops(canvas, network, crops, tiles, score, zoom=views.zoom)
        start += network.width
    average = weights * mean
    usual = [average[:, :width].sum(axis=1), average[:, width:].sum(axis=1)]
    return canvas, branches - np.stack(usual, axis=1)


def _add_crops(
    canvas: Maps,
    network: CutNetwork,
    crops: NDArray[np.uint8],
    tiles: Any,
    score: Callable[[Any], Any],
    *,
    zoom: int,
) -> Maps:
    """Add what crops (N, C, S, S, 3) say to a canvas; return the mean of their scores (N,)."""
    total, count = np.zeros(len(crops), np.float32), crops.shape[1]
    for crop in range(count):
        maps, scores = network.contributions(crops[:, crop], score)
        total += scores / count
        for row, tile in enumerate(tiles[:, crop]):
            at = tile_slices(int(tile), zoom, HEAT_SIDE)
            # The crops of an image together count as its tiles would.
            canvas[row][at] += resize_maps(maps[row], canvas[row][at].shape) * zoom**2 / count
    return total


def _branches(
    head: keras.Model, features: NDArray[np.float32], pairs: NDArray[np.int64], width: int
) -> Maps:
    """Return the log odds (N, 2) of both branches from features (N, D), the first of `width`."""
    weights, mean = _linear(head, pairs)
    parts = weights * (features - mean)
    return np.stack([parts[:, :width].sum(axis=1), parts[:, width:].sum(axis=1)], axis=1)


def _linear(head: keras.Model, pairs: NDArray[np.int64]) -> tuple[Maps, Maps]:
    """Return the gradient (N, D) of the log odds, and the features (D,) of the average image.

    The log odds are linear in the features, so the gradient is the same everywhere.
    """
    mean = np.asarray(head.get_layer("standardise").mean).reshape(-1)
    features = tf.repeat(tf.constant(mean[None], tf.float32), len(pairs), axis=0)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        odds = _log_odds(head(features, training=False), pairs)
    return tape.gradient(odds, features).numpy(), mean


def _log_odds(probabilities: Any, pairs: NDArray[np.int64]) -> Any:
    logs = tf.math.log(probabilities + LEAST)
    first, second = (tf.gather(logs, labels, axis=1, batch_dims=1) for labels in pairs.T)
    return first - second


def _weighted(weights: Maps) -> Callable[[Any], Any]:
    return lambda features: tf.reduce_sum(features * weights, axis=1)


def _over_views(
    network: CutNetwork, images: NDArray[np.uint8], score: Callable[[Any], Any], *, count: int
) -> tuple[Maps, Maps]:
    """Return the mean map (N, 28, 28) of `count` views, each turned back, and the mean score."""
    total = np.zeros((len(images), HEAT_SIDE, HEAT_SIDE), np.float32)
    scores = np.zeros(len(images), np.float32)
    for view in range(count):
        maps, of_view = network.contributions(dihedral(images, view), score)
        turned = undo_dihedral(maps[..., None], view)[..., 0]
        total += np.stack([resize_maps(each, total.shape[1:]) for each in turned])
        scores += of_view
    return total / np.float32(count), scores / np.float32(count)
