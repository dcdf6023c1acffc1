"""Pretrained networks without their classification layer, each with its own preprocessing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

from tissue.backbones.efficientnet_lite import efficientnet_lite, set_packaged_values
from tissue.backbones.torch_file import read_tensors
from tissue.common.backbones import BACKBONES, check_packaged_file, packaged_file
from tissue.common.errors import InputError
from tissue.common.files import file_digest

KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/"
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])  # of R, G, B in [0, 1], as is the deviation
IMAGENET_STD = np.array([0.229, 0.224, 0.225])
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])  # in [0, 255]


def build_backbone(
    key: str | Sequence[str],
    *,
    image_size: int,
    weights: str,
    strides: Sequence[int] = (32,),
    sha256: str | None = None,
) -> keras.Model:
    """Build a frozen backbone that maps images in [0, 255] (N, S, S, 3) to float32 (N, D).

    The features are the means over the last maps at each stride, concatenated; layers above the
    largest stride are left out. Those of several backbones, which see the images alike, follow each
    other.

    Args:
        key: a key of `BACKBONES`, or several of one scaling.
        image_size: side S of the images, in pixels.
        weights: `packaged`, `imagenet`, `random`, or the path of a `.weights.h5` file
            or of the file in a package.
        strides: of the maps, in pixels of the image: 2, 4, 8, 16 or 32.
        sha256: expected digest of the weights file, if any.

    Raises:
        InputError: if the weights cannot be found, do not fit, or are not the expected ones.
    """
    keys = [key] if isinstance(key, str) else key
    networks = [_build(one, image_size, weights, strides, sha256) for one in keys]
    images = keras.Input((image_size, image_size, 3), name="image")
    scaled = _scale(images, BACKBONES[keys[0]].scaling)
    # training=False keeps batch normalisation frozen, also while the network is fine-tuned.
    features = [network(scaled, training=False) for network in networks]
    joined = layers.Concatenate(name="features_of_all")(features) if len(keys) > 1 else features[0]
    return keras.Model(images, joined, name="backbone")


def _build(
    key: str, image_size: int, weights: str, strides: Sequence[int], sha256: str | None
) -> keras.Model:
    backbone = BACKBONES[key]
    lite = backbone.application == "EfficientNetLite"
    build = efficientnet_lite if lite else getattr(keras.applications, backbone.application)
    network = build(
        input_shape=(image_size, image_size, 3), include_top=False, weights=None, pooling="avg",
        **{"name": key, **backbone.options},
    )  # fmt: skip
    if weights != "random":
        _load_weights(network, key, weights, sha256)
    network = _pool_at(network, strides)
    network.trainable = False
    return network


def _pool_at(network: keras.Model, strides: Sequence[int]) -> keras.Model:
    side = network.input_shape[1]
    means, chosen = [], set()
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
                f"advanced.pretrained.strides: expected strides at which {network.name} has maps "
                f"of images of {side} pixels. Received: {stride}."
            )
        pool = layers.GlobalAveragePooling2D(name=f"mean_at_{stride}")
        means.append(pool(at_stride[-1].output))
        chosen.add(at_stride[-1].name)
    if len(chosen) < len(strides):
        raise InputError(
            f"advanced.pretrained.strides: expected strides with different maps. Received: "
            f"{list(strides)}, for images of {side} pixels. Take one out, or set a larger "
            "image_size."
        )
    features = layers.Concatenate(name="features")(means) if len(means) > 1 else means[0]
    return keras.Model(network.inputs, features, name=network.name)


def _scale(images: keras.KerasTensor, scaling: str) -> keras.KerasTensor:
    # Only layers that any Keras loads without running code from the file.
    if scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(images)
    if scaling == "lite":
        return layers.Rescaling(1 / 128, offset=-127 / 128, name="scale")(images)
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
    """Return the sha256 of the values of all weights, whichever file they came in."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def _load_weights(network: keras.Model, key: str, weights: str, sha256: str | None) -> None:
    if weights == "packaged" or weights.endswith(".pth"):
        _load_packaged(network, key, weights)
        return
    path = download_weights(key) if weights == "imagenet" else Path(weights)
    if not path.is_file():
        raise InputError(
            f"pretrained.weights: expected packaged, imagenet or a .weights.h5 file. "
            f"Received: {path}, which does not exist under {Path.cwd()}."
        )
    if sha256 is not None and (received := file_digest(path)) != sha256:
        raise InputError(
            f"{path}: expected sha256 {sha256} (pretrained.sha256). Received: {received}. "
            "Download the file again, or correct the digest."
        )
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


def _load_packaged(network: keras.Model, key: str, weights: str) -> None:
    path = packaged_file(key) if weights == "packaged" else Path(weights)
    check_packaged_file(key, path)
    with path.open("rb") as file:
        set_packaged_values(network, read_tensors(file))


def _check_count(network: keras.Model, path: Path) -> None:
    # Keras loads what the network needs and ignores what a file of a larger one holds besides.
    if not path.name.endswith(".weights.h5"):
        return
    arrays: list[str] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None
        )
    if len(arrays) != len(network.variables):
        raise ValueError(f"{len(arrays)} arrays instead of {len(network.variables)}")


def download_weights(key: str) -> Path:
    """Return the file of a backbone's ImageNet weights, downloaded if it is not there yet.

    Raises:
        InputError: if it cannot be downloaded.
    """
    file, file_hash = BACKBONES[key].file, BACKBONES[key].file_hash
    try:
        return Path(
            keras.utils.get_file(
                Path(file).name, KERAS_FILES + file, cache_subdir="models", file_hash=file_hash
            )
        )
    except Exception as error:  # noqa: BLE001  Keras raises no narrower class
        raise InputError(
            f"pretrained.weights: expected to download {KERAS_FILES}{file}. Received: {error}. "
            "Without a network, download that file elsewhere and put it into the folder models of "
            "KERAS_HOME (by default ~/.keras), or use a backbone with packaged weights."
        ) from None


def _check_values(network: keras.Model, key: str, path: Path) -> None:
    if BACKBONES[key].file_hash is not None:
        return  # Keras has checked the file
    expected = BACKBONES[key].values_sha256
    if expected is None:
        raise InputError(
            f"pretrained.sha256: expected the digest of {path.name}, since Keras publishes none "
            "and downloads without a check. Received: null; the downloaded file has "
            f"{file_digest(path)}. If you trust it, set pretrained.sha256 to that."
        )
    if values_digest(network) != expected:
        raise InputError(
            f"{path}: expected the ImageNet weights of {key} as Keras publishes them. Received: "
            "others. Delete the file and run again."
        )
