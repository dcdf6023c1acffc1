"""The frozen network that embeds images, loaded from a file of Keras or of ONNX."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tissue.common.backbones import packaged_file
from tissue.common.runtime import quiet_import
from tissue.config.schema import Pretrained


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
