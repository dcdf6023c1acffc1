"""The supported backbones of `keras.applications`, listed without importing Keras."""

from typing import Any, Literal, NamedTuple


class Backbone(NamedTuple):
    """A network of `keras.applications`.

    Attributes:
        application: its class.
        scaling: of the input, as Keras names it: `tf` is [-1, 1]; `torch` standardises R, G, B;
            `caffe` reorders to B, G, R and subtracts the means; `inside` is [0, 255], because the
            network scales by itself.
        file: path of the weights below the server of Keras.
        file_hash: digest by which Keras checks the file, if it publishes one.
        values_sha256: digest of the weights in the order of `get_weights`. Where both digests are
            unknown, params.yaml has to give that of the file.
        options: arguments of the class.
    """

    application: str
    scaling: Literal["tf", "torch", "caffe", "inside"]
    file: str
    file_hash: str | None = None
    values_sha256: str | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  never changed


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


BACKBONES = {
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
