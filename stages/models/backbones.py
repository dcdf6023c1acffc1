"""Pretrained networks without their classification layer, each with its own preprocessing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import keras
import numpy as np
from keras import layers

from stages.cli.running import InputError
from stages.dataset.files import file_digest
from stages.models.names import EMBEDDED_WEIGHTS

KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/"
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])  # of R, G, B in [0, 1], as is the deviation
IMAGENET_STD = np.array([0.229, 0.224, 0.225])
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])  # in [0, 255]


class Backbone(NamedTuple):
    """A network of `keras.applications`, what it wants as input, and where its weights lie.

    `scaling` has the names that Keras gives them: `tf` is [-1, 1]; `torch` standardises R, G, B;
    `caffe` swaps them to B, G, R and subtracts their means; `inside` is [0, 255], since the
    network scales by itself.

    Keras checks a download against `file_hash`, where it publishes one. `values_sha256` is the
    digest of the values of the weights, in the order of `get_weights`. Where neither is known, the
    user has to give the digest of the file.
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
    # Keras chooses how the network scales by what follows the hyphen in its name.
    options = {"name": name}
    return Backbone(f"EfficientNetV2{size.upper()}", "inside", file, file_hash, None, options)


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
        "ConvNeXtTiny",
        "inside",
        "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    # He et al. 2016, arXiv 1512.03385
    "resnet50": Backbone(
        "ResNet50",
        "caffe",
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    # Huang et al. 2017, arXiv 1608.06993
    "densenet121": Backbone(
        "DenseNet121",
        "torch",
        "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
    ),
}


def build_backbone(
    key: str,
    *,
    image_size: int,
    weights: str,
    strides: Sequence[int] = (32,),
    sha256: str | None = None,
) -> keras.Model:
    """Build a frozen backbone that maps images in [0, 255] (N, S, S, 3) to float32 (N, D).

    The features are the means over the last maps at each of the strides, one after the other; the
    layers above the largest are left out.

    Args:
        key: a key of `BACKBONES`.
        image_size: side S of the images, in pixels.
        weights: `embedded`, `imagenet`, `random` or the path of a `.weights.h5` file.
        strides: pixels of an image from one place of a map to the next: 2, 4, 8, 16 or 32.
        sha256: expected digest of the file of the weights, if any.

    Raises:
        ValueError: if the weights cannot be found, do not fit, or are not the expected ones.
    """
    spec = BACKBONES[key]
    network = getattr(keras.applications, spec.application)(
        input_shape=(image_size, image_size, 3),
        include_top=False,
        weights=None,
        pooling="avg",
        **{"name": key, **spec.options},
    )
    if weights != "random":
        _load(network, key, weights, sha256)
    network = _pooled_at(network, strides)
    network.trainable = False
    images = keras.Input((image_size, image_size, 3), name="image")
    # training=False keeps batch normalisation frozen, also while the network is fine-tuned.
    features = network(_scale(images, spec.scaling), training=False)
    return keras.Model(images, features, name="backbone")


def _pooled_at(network: keras.Model, strides: Sequence[int]) -> keras.Model:
    side = network.input_shape[1]
    means, chosen = [], []
    for stride in strides:
        sides = (side // stride, -(-side // stride))
        at_stride = [
            layer
            for layer in network.layers
            if len(layer.output.shape) == 4
            and layer.output.shape[1] in sides
            and not isinstance(layer, layers.ZeroPadding2D)
        ]
        if not at_stride:
            raise InputError(
                f"pretrained.strides: expected strides at which {network.name} has maps of images "
                f"of {side} pixels. Received: {stride}."
            )
        pool = layers.GlobalAveragePooling2D(name=f"mean_at_{stride}")
        means.append(pool(at_stride[-1].output))
        chosen.append(at_stride[-1].name)
    if len(set(chosen)) < len(chosen):
        raise InputError(
            f"pretrained.strides: expected strides whose maps are not the same. Received: "
            f"{list(strides)}, for images of {side} pixels. Take one out, or set a larger "
            "image_size."
        )
    features = layers.Concatenate(name="features")(means) if len(means) > 1 else means[0]
    return keras.Model(network.inputs, features, name=network.name)


def _scale(images: keras.KerasTensor, scaling: str) -> keras.KerasTensor:
    # With layers that any Keras loads without running code from the file.
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(images)
    if scaling == "torch":
        scale = (1 / (255 * IMAGENET_STD)).tolist()
        offset = (-IMAGENET_MEAN / IMAGENET_STD).tolist()
        return layers.Rescaling(scale, offset=offset, name="scale")(images)
    if scaling == "caffe":
        swap = layers.Conv2D(3, 1, trainable=False, name="scale")
        scaled = swap(images)
        swap.set_weights([np.eye(3)[::-1][None, None], -CAFFE_MEAN_BGR])
        return scaled
    return images


def values_digest(network: keras.Model) -> str:
    """Return the sha256 of the values of all weights, whatever file they came in."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def _load(network: keras.Model, key: str, weights: str, sha256: str | None) -> None:
    named = weights in ("embedded", "imagenet")
    path = Path(weights) if not named else EMBEDDED_WEIGHTS
    if weights == "imagenet":
        path = downloaded(key)
    if not path.is_file():
        raise InputError(
            f"pretrained.weights: expected embedded, imagenet or a .weights.h5 file. Received: "
            f"{path}, which does not exist under {Path.cwd()}."
        )
    if sha256 is not None:
        _check_file(path, sha256)
    try:
        network.load_weights(path)
        _check_count(network, path)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"{path}: expected weights of {key} without its top. Received: {error}. "
            "Set pretrained.backbone to the network the file was made for."
        ) from None
    if weights == "imagenet" and sha256 is None:
        _check_values(network, key, path)


def _check_count(network: keras.Model, path: Path) -> None:
    # Keras looks for what the network needs, and would pass over all that a larger one has besides.
    if not path.name.endswith(".weights.h5"):
        return
    arrays: list[str] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None
        )
    if len(arrays) != len(network.variables):
        raise ValueError(f"{len(arrays)} arrays instead of {len(network.variables)}")


def downloaded(key: str) -> Path:
    """Return the file of the ImageNet weights of a backbone, downloaded where it is not there.

    Raises:
        InputError: if it cannot be downloaded.
    """
    spec = BACKBONES[key]
    name = Path(spec.file).name
    try:
        return Path(
            keras.utils.get_file(
                name, KERAS_FILES + spec.file, cache_subdir="models", file_hash=spec.file_hash
            )
        )
    except Exception as error:  # noqa: BLE001  Keras raises no narrower class
        raise InputError(
            f"pretrained.weights: expected to download {KERAS_FILES}{spec.file}. Received: "
            f"{error}. Without a network, fetch that file elsewhere and put it into the folder "
            "models of KERAS_HOME (by default ~/.keras), or set pretrained.weights to embedded or "
            "to a file."
        ) from None


def _check_file(path: Path, expected: str) -> None:
    received = file_digest(path)
    if received != expected:
        raise InputError(
            f"{path}: expected sha256 {expected} (pretrained.sha256). Received: {received}. "
            "Fetch the file again, or correct the digest."
        )


def _check_values(network: keras.Model, key: str, path: Path) -> None:
    expected = BACKBONES[key].values_sha256
    if BACKBONES[key].file_hash is not None:
        return  # Keras has checked the file
    if expected is None:
        received = file_digest(path)
        raise InputError(
            f"pretrained.sha256: expected the digest of {path.name}, since Keras publishes none "
            f"and downloads without a check. Received: null; the file that came has {received}. "
            "If you trust it, set pretrained.sha256 to that."
        )
    if values_digest(network) != expected:
        raise InputError(
            f"{path}: expected the ImageNet weights of {key} as Keras publishes them. Received: "
            "others. Delete the file and run again."
        )
