"""Features of images: a frozen network run over their views and crops."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tissue.backbones.loading import Embedder
from tissue.common.augmentation import dihedral

Item = TypeVar("Item")


def embed_batch(
    network: Embedder,
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    *,
    views: int,
) -> NDArray[np.float32]:
    """Return features float32 (N, views, D), or (N, views, 2 D) with crops.

    The first D are those of images uint8 (N, S, S, 3) in their dihedral views. The others are the
    mean over their crops uint8 (N, C, S, S, 3), the same in each view: crops differ enough without
    being turned.
    """
    batches = [dihedral(images, view) for view in range(views)]
    if crops is not None:
        batches.extend(np.moveaxis(crops, 1, 0))
    outputs = [predict_once(network, b) for b in prefetch(map(np.ascontiguousarray, batches))]
    whole = np.stack(outputs[:views], axis=1)
    if crops is None:
        return whole
    pooled = np.mean(outputs[views:], axis=0)[:, None]
    return np.concatenate([whole, np.repeat(pooled, views, axis=1)], axis=2)


def predict_once(network: Embedder, batch: NDArray) -> NDArray[np.float32]:
    """Return the output of a network for a batch, one row for each of its rows.

    A Keras model that was built to be trained on several GPUs runs the whole batch on each of them,
    and returns the rows of the first GPU, then those of the next.
    """
    return network.predict_on_batch(batch)[: len(batch)]


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; a thread prepares the next one while the caller works on the last."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
