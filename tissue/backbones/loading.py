"""Which frozen network embeds the images, and how it is loaded, whichever kind of file holds it."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from tissue.common.names import EMBEDDED_WEIGHTS
from tissue.common.runtime import quiet_import
from tissue.config.schema import Onnx, Pretrained


class Embedder(Protocol):
    """What embedding needs of a network: a Keras model has it, and so has an ONNX file."""

    @property
    def output_shape(self) -> tuple[int | None, int]:
        """(None, D): the number of features comes last."""

    def predict_on_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features float32 (N, D) of images in [0, 255] (N, S, S, 3)."""


class BackboneSpec(BaseModel, frozen=True):
    """All that decides the features of an image.

    Attributes:
        backbone: a key of `BACKBONES`, or a path that ends in .onnx.
        weights: see `build_backbone`; an ONNX file holds its own.
        sha256: expected digest of the file of the weights or of the ONNX file.
        image_size: side S of the images, in pixels.
        strides: see `build_backbone`; the outputs of an ONNX file are fixed.
        onnx: how an ONNX file wants its images and is read.
    """

    backbone: str
    weights: str
    sha256: str | None
    image_size: int
    strides: list[int]
    onnx: Onnx

    @property
    def is_onnx(self) -> bool:
        """Whether the network is an ONNX file, which can be run but not trained."""
        return self.backbone.endswith(".onnx")


def spec_of(settings: Pretrained, *, image_size: int) -> BackboneSpec:
    """Return the backbone that `settings` name, for images of this size."""
    values = {
        name: getattr(settings, name) for name in BackboneSpec.model_fields.keys() - {"image_size"}
    }
    return BackboneSpec(image_size=image_size, **values)


def load_embedder(spec: BackboneSpec, *, threads: int) -> Embedder:
    """Build a backbone of Keras, or open one from an ONNX file.

    Args:
        spec: which backbone.
        threads: for an ONNX file; those of Keras are set with its runtime.

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
    """Return the files that a network is loaded from, by name; the first is given by path.

    There are none for ImageNet weights, which Keras finds itself, unless they are downloaded.

    Args:
        spec: which backbone.
        download: whether ImageNet weights are downloaded and checked here, once, since processes
            that download at the same time overwrite each other's file.

    Raises:
        InputError: if a file is not what it should be, or cannot be downloaded.
    """
    if spec.is_onnx:
        from tissue.backbones.onnx_file import checked_files

        path = Path(spec.backbone)
        found = checked_files(path, spec.sha256)
        return {file.relative_to(path.parent).as_posix(): file for file in found}
    if spec.weights != "imagenet":
        path = EMBEDDED_WEIGHTS if spec.weights == "embedded" else Path(spec.weights)
        return {path.name: path}
    if not download:
        return {}
    with quiet_import():
        from tissue.backbones.build import downloaded

    load_embedder(spec, threads=1)
    path = downloaded(spec.backbone)
    return {path.name: path}
