"""Opens the frozen network that `embed` runs, whichever kind of file it comes from."""

from collections.abc import Sequence
from pathlib import Path

from stages.models.embedding import Embedder
from stages.params.schema import Onnx


def load_embedder(
    backbone: str,
    *,
    image_size: int,
    weights: str,
    strides: Sequence[int],
    sha256: str | None,
    onnx: Onnx,
    threads: int,
) -> Embedder:
    """Build a backbone of Keras, or open one from an ONNX file.

    Args:
        backbone: a key of `BACKBONES`, or a path that ends in .onnx.
        image_size: side S of the images, in pixels.
        weights: see `build_backbone`; those of an ONNX file are in it.
        strides: see `build_backbone`; an ONNX file has outputs of its own.
        sha256: expected digest of the file of the weights or of the ONNX file.
        onnx: how an ONNX file wants its images and is read.
        threads: for an ONNX file; those of Keras are set with its runtime.

    Raises:
        ValueError: if a file cannot be found, does not fit, or is not the expected one.
    """
    if backbone.endswith(".onnx"):
        from stages.models.onnx_backbone import OnnxBackbone

        return OnnxBackbone(
            Path(backbone), image_size=image_size, sha256=sha256, settings=onnx, threads=threads
        )
    from stages.models.backbones import build_backbone

    return build_backbone(
        backbone, image_size=image_size, weights=weights, strides=strides, sha256=sha256
    )
