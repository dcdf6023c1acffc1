"""Pretrained networks without their classification layer, each with its own preprocessing."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import keras

from stages.cli.running import InputError

EMBEDDED_WEIGHTS = Path("pretrain/mobilenet_v2_035.weights.h5")
KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"


class Backbone(NamedTuple):
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) of one width.

    Keras downloads its weights without a check. `values_sha256` is the digest of their values, in
    the order of `get_weights`; where it is not known, the user has to give that of the file.
    """

    alpha: float
    file: str
    values_sha256: str | None


BACKBONES = {
    "mobilenet_v2_035": Backbone(
        0.35,
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
        "cea55efc9877ca3885be4994427a90914d259e7e8d759d90f36f7bb16e1725a7",
    ),
    "mobilenet_v2": Backbone(
        1.0, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None
    ),
}


def build_backbone(
    key: str, *, image_size: int, weights: str, sha256: str | None = None
) -> keras.Model:
    """Build a frozen backbone that maps images in [0, 255] (N, S, S, 3) to float32 (N, D).

    Args:
        key: a key of `BACKBONES`.
        image_size: side S of the images, in pixels.
        weights: `embedded`, `imagenet`, `random` or the path of a `.weights.h5` file.
        sha256: expected digest of the file of the weights, if any.

    Raises:
        ValueError: if the weights cannot be found, do not fit, or are not the expected ones.
    """
    network = keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3),
        alpha=BACKBONES[key].alpha,
        include_top=False,
        weights=None,
        pooling="avg",
        name=key,
    )
    if weights != "random":
        _load(network, key, weights, sha256)
    network.trainable = False
    images = keras.Input((image_size, image_size, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(images)
    # training=False keeps batch normalisation frozen, also while the network is fine-tuned.
    return keras.Model(images, network(scaled, training=False), name="backbone")


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
        path = _download(BACKBONES[key].file)
    if not path.is_file():
        raise InputError(
            f"pretrained.weights: expected embedded, imagenet or a .weights.h5 file. Received: "
            f"{path}, which does not exist under {Path.cwd()}."
        )
    if sha256 is not None:
        _check_file(path, sha256)
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"{path}: expected weights of {key} without its top. Received: {error}. "
            "Set pretrained.backbone to the network the file was made for."
        ) from None
    if weights == "imagenet" and sha256 is None:
        _check_values(network, key, path)


def _download(file: str) -> Path:
    try:
        return Path(keras.utils.get_file(file, KERAS_FILES + file, cache_subdir="models"))
    except Exception as error:  # noqa: BLE001  Keras raises no narrower class
        raise InputError(
            f"pretrained.weights: expected to download {KERAS_FILES}{file}. Received: {error}. "
            "Without a network, fetch that file elsewhere and put it into the folder models of "
            "KERAS_HOME (by default ~/.keras), or set pretrained.weights to embedded or to a file."
        ) from None


def _check_file(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != expected:
        raise InputError(
            f"{path}: expected sha256 {expected} (pretrained.sha256). Received: {received}. "
            "Fetch the file again, or correct the digest."
        )


def _check_values(network: keras.Model, key: str, path: Path) -> None:
    expected = BACKBONES[key].values_sha256
    if expected is None:
        with path.open("rb") as file:
            received = hashlib.file_digest(file, "sha256").hexdigest()
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
