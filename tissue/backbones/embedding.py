"""The frozen network that embeds images: loaded from Keras or ONNX, run over views and crops."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tissue.common.augmentation import dihedral
from tissue.common.backbones import packaged_file
from tissue.common.runtime import quiet_import
from tissue.config.schema import Pretrained

Item = TypeVar("Item")


class Embedder(Protocol):
    """A network from images to features: a Keras model or an `OnnxBackbone`."""

    @property
    def output_shape(self) -> tuple[int | None, int]:
        """The shape of the features, (None, D)."""

    def predict_on_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features float32 (N, D) of images in [0, 255] (N, S, S, 3)."""


def is_onnx(settings: Pretrained) -> bool:
    """Whether the backbone is an ONNX file, which can be run but not trained."""
    return settings.backbones[0].endswith(".onnx")


def load_embedder(settings: Pretrained, *, image_size: int, threads: int = 1) -> Embedder:
    """Build a backbone of Keras, or open one from an ONNX file, which runs on so many threads.

    `set_up` sets the threads of Keras.

    Raises:
        InputError: if a file cannot be found, does not fit, or is not the expected one.
    """
    if is_onnx(settings):
        from tissue.backbones.onnx_file import OnnxBackbone

        return OnnxBackbone(
            Path(settings.backbones[0]), image_size=image_size, sha256=settings.sha256,
            settings=settings.onnx, threads=threads,
        )  # fmt: skip
    from tissue.backbones.build import build_backbone

    return build_backbone(
        settings.backbone, image_size=image_size, weights=settings.weights,
        strides=settings.strides, sha256=settings.sha256,
    )  # fmt: skip


def network_files(settings: Pretrained, *, image_size: int, download: bool) -> dict[str, Path]:
    """Return the files that a network is loaded from by name, the one given by path first.

    ImageNet weights, which Keras finds itself, are returned only if `download` is set: then they
    are downloaded and checked here, once, since processes that download at the same time overwrite
    each other's file.

    Raises:
        InputError: if a file is not the expected one, or cannot be downloaded.
    """
    if is_onnx(settings):
        from tissue.backbones.onnx_check import checked_files

        path = Path(settings.backbones[0])
        files = checked_files(path, settings.sha256)
        return {file.relative_to(path.parent).as_posix(): file for file in files}
    if settings.weights == "packaged":
        return {path.name: path for path in map(packaged_file, settings.backbones)}
    if settings.weights != "imagenet":
        path = Path(settings.weights)
        return {path.name: path}
    if not download:
        return {}
    with quiet_import():
        from tissue.backbones.build import download_weights

    load_embedder(settings, image_size=image_size)
    path = download_weights(settings.backbones[0])
    return {path.name: path}


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
