"""The frozen network that turns images into features, whichever kind of file it comes from."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.images.views import dihedral


class Embedder(Protocol):
    """What `embed` needs of a network: a Keras model has it, and so has an ONNX file."""

    @property
    def output_shape(self) -> tuple[int | None, int]:
        """(None, D): the number of features is the last."""

    def predict_on_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features float32 (N, D) of images in [0, 255] (N, S, S, 3)."""


def embed_batch(
    network: Embedder,
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    *,
    views: int,
) -> NDArray[np.float32]:
    """Return features float32 (N, views, D), or (N, views, 2 D) with crops.

    The first D are those of the whole image in its dihedral views; the others the mean over the
    crops, the same in each view: crops differ enough to need no turning.

    Args:
        network: from images to features.
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), or None.
        views: number of dihedral views.
    """
    batches = inputs_of(images, crops, views=views)
    return pool([predict_once(network, batch) for batch in batches], views=views)


def predict_once(network: Embedder, batch: NDArray) -> NDArray[np.float32]:
    """Return what a network gives for a batch, one row for each of its rows.

    A Keras model that was made to be trained on several GPUs runs the whole batch on each of them,
    and gives the rows of the first, then those of the next.
    """
    return network.predict_on_batch(batch)[: len(batch)]


def inputs_of(
    images: NDArray[np.uint8], crops: NDArray[np.uint8] | None, *, views: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield what the network gets: images (N, S, S, 3) in each view, then crop after crop."""
    for view in range(views):
        yield np.ascontiguousarray(dihedral(images, view))
    if crops is not None:
        for crop in range(crops.shape[1]):
            yield np.ascontiguousarray(crops[:, crop])


def pool(outputs: Sequence[NDArray[np.float32]], *, views: int) -> NDArray[np.float32]:
    """Return features as `embed_batch` does, of what the network gives for each of its inputs."""
    whole = np.stack(outputs[:views], axis=1)
    if len(outputs) == views:
        return whole
    crops = np.mean(outputs[views:], axis=0)[:, None]
    return np.concatenate([whole, np.repeat(crops, views, axis=1)], axis=2)
