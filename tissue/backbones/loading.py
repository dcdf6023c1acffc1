"""The frozen network that embeds images, loaded from a file of Keras or of ONNX."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tissue.common.names import EMBEDDED_WEIGHTS
from tissue.common.runtime import quiet_import
from tissue.config.schema import Onnx, Pretrained


class Embedder(Protocol):
    """A network from images to features: a Keras model or an `OnnxBackbone`."""

    @property
    def output_shape(self) -> tuple[int | None, int]:
        """The shape of the features, (None, D)."""

    def predict_on_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features float32 (N, D) of images in [0, 255] (N, S, S, 3)."""


class BackboneSpec(BaseModel, frozen=True):
    """All that decides the features of an image.

    Attributes:
        backbone: a key of `BACKBONES`, or a path that ends in .onnx.
        weights: see `build_backbone`; an ONNX file holds its own.
        sha256: expected digest of the weights file or the ONNX file.
        image_size: side S of the images, in pixels.
        strides: see `build_backbone`; the outputs of an ONNX file are fixed.
        onnx: input and output of an ONNX file.
    """

    backbone: str
    weights: str
    sha256: str | None
    image_size: int
    strides: list[int]
    onnx: Onnx

    @property
    def is_onnx(self) -> bool:
        """Whether the backbone is an ONNX file, which can be run but not trained."""
        return self.backbone.endswith(".onnx")


def spec_of(settings: Pretrained, *, image_size: int) -> BackboneSpec:
    """Return the backbone that `settings` name, for images of this size."""
    return BackboneSpec(
        image_size=image_size, **settings.model_dump(include=set(BackboneSpec.model_fields))
    )


def load_embedder(spec: BackboneSpec, *, threads: int) -> Embedder:
    """Build a backbone of Keras, or open one from an ONNX file.

    Args:
        spec: which backbone.
        threads: of an ONNX file; `set_up` sets those of Keras.

    Raises:
        InputError: if a file cannot be found, does not fit, or is not the expected one.
    """
    if spec.is_onnx:
        from tissue.backbones.onnx_file import OnnxBackbone

        return OnnxBackbone(
            Path(spec.backbone), image_size=spec.image_size, sha256=spec.sha256,
            settings=spec.onnx, threads=threads,
        )  # fmt: skip
    from tissue.backbones.build import build_backbone

    return build_backbone(
        spec.backbone, image_size=spec.image_size, weights=spec.weights, strides=spec.strides,
        sha256=spec.sha256,
    )  # fmt: skip


def network_files(spec: BackboneSpec, *, download: bool) -> dict[str, Path]:
    """Return the files that a network is loaded from by name, the one given by path first.

    ImageNet weights, which Keras finds itself, are returned only if they are downloaded.

    Args:
        spec: which backbone.
        download: whether to download and check ImageNet weights here, once: processes that
            download at the same time overwrite each other's file.

    Raises:
        InputError: if a file is not the expected one, or cannot be downloaded.
    """
    if spec.is_onnx:
        from tissue.backbones.onnx_file import checked_files

        path = Path(spec.backbone)
        files = checked_files(path, spec.sha256)
        return {file.relative_to(path.parent).as_posix(): file for file in files}
    if spec.weights != "imagenet":
        path = EMBEDDED_WEIGHTS if spec.weights == "embedded" else Path(spec.weights)
        return {path.name: path}
    if not download:
        return {}
    with quiet_import():
        from tissue.backbones.build import download_weights

    load_embedder(spec, threads=1)
    path = download_weights(spec.backbone)
    return {path.name: path}
