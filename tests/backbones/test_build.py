"""Building a backbone: its weights, where they come from, and the strides of its maps."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.networks import SIDE, four_classes, mobilenet
from tests.pipeline import ROOT
from tissue.backbones.build import build_backbone, values_digest
from tissue.common.backbones import BACKBONES
from tissue.common.errors import InputError

small = pytest.mark.usefixtures("small_mobilenet")
SHARED_WEIGHTS = {
    "mobilenet_v2_035": "mobilenet_v2_0.35_224_no_top.weights.h5",
    "mobilenet_v2": "mobilenet_v2_1.0_224_no_top.weights.h5",
}


@pytest.fixture
def saved(tmp_path: Path, small_mobilenet: None) -> Path:
    """A file of weights for the small network."""
    path = tmp_path / "a.weights.h5"
    mobilenet().get_layer("mobilenet_v2_035").save_weights(path)
    return path


def serve_download(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Let Keras "download" a file; return the list of the hashes that it is to check."""
    hashes: list[str | None] = []

    def get_file(*args: object, file_hash: str | None, **kwargs: object) -> str:
        hashes.append(file_hash)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return hashes


@small
def test_batch_normalisation_is_frozen_in_training_too() -> None:
    images, _ = four_classes(4)
    backbone = mobilenet()
    assert backbone.trainable_weights == []
    assert np.array_equal(*map(np.asarray, (backbone(images), backbone(images, training=True))))


def test_weights_of_a_file(saved: Path) -> None:
    one = mobilenet(str(saved))
    two = mobilenet(str(saved), sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
    assert values_digest(one) == values_digest(two) != values_digest(mobilenet())


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_width(saved: Path) -> None:
    with pytest.raises(InputError, match="expected weights of mobilenet_v2 without its top"):
        build_backbone("mobilenet_v2", image_size=SIDE, weights=str(saved))


@small
def test_weights_of_a_larger_network_are_refused(tmp_path: Path) -> None:
    """Keras reads from a file what fits, and ignores the rest."""
    network = mobilenet().get_layer("mobilenet_v2_035")
    path = tmp_path / "a.weights.h5"
    keras.Model(network.input, layers.Dense(3)(network.output)).save_weights(path)
    message = r"expected weights of mobilenet_v2_035 without .* Received: 14 arrays instead of 12"
    with pytest.raises(InputError, match=message):
        mobilenet(str(path))


@small
@pytest.mark.parametrize(
    ("content", "sha256", "message"),
    [
        (None, None, r"pretrained\.weights: .*a\.weights\.h5, which does"),
        (b"", None, r"a\.weights\.h5: expected weights of"),
        (b"no weights", None, r"a\.weights\.h5: expected weights of"),
        (b"other", "0" * 64, r"expected sha256 000.*pretrained\.sha256.*Received"),
    ],
)
def test_no_such_weights(
    content: bytes | None, sha256: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        mobilenet(str(path), sha256=sha256)


@small
def test_imagenet_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> str:
        raise Exception("URL fetch failure: Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    message = r"expected to download https.*not known.*Without a network.*KERAS_HOME.*packaged"
    with pytest.raises(InputError, match=message):
        mobilenet("imagenet")


def test_download_of_other_values_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_download(saved, monkeypatch)
    with pytest.raises(InputError, match=r"expected the ImageNet weights .*Received: others"):
        mobilenet("imagenet")


def test_download_of_unknown_digest_needs_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_backbone("mobilenet_v2_050", image_size=SIDE, weights="random").get_layer(
        "mobilenet_v2_050"
    ).save_weights(saved)
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    serve_download(saved, monkeypatch)
    with pytest.raises(InputError, match=rf"pretrained\.sha256: expected .*{digest}"):
        build_backbone("mobilenet_v2_050", image_size=SIDE, weights="imagenet")
    build_backbone("mobilenet_v2_050", image_size=SIDE, weights="imagenet", sha256=digest)


def test_published_hash_replaces_the_digest(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = BACKBONES["mobilenet_v2_035"]._replace(file_hash="0123", values_sha256=None)
    monkeypatch.setitem(BACKBONES, "mobilenet_v2_035", published)
    hashes = serve_download(saved, monkeypatch)
    assert values_digest(mobilenet("imagenet")) == values_digest(mobilenet(str(saved)))
    assert hashes == ["0123"]


@pytest.mark.parametrize("key", SHARED_WEIGHTS)
def test_values_of_imagenet_are_known(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT.parent / "shared" / "weights" / SHARED_WEIGHTS[key]
    if not path.is_file():
        pytest.skip("no shared weights here")
    serve_download(path, monkeypatch)
    network = build_backbone(key, image_size=SIDE, weights="imagenet")
    assert values_digest(network) == BACKBONES[key].values_sha256


@pytest.mark.parametrize("side", [SIDE, 224])
def test_features_are_the_means_of_the_last_maps_of_each_stride(side: int) -> None:
    settings = {"image_size": side, "weights": "packaged"}
    whole = build_backbone("efficientnet_lite0", **settings, strides=(8, 16, 32))
    images = np.random.default_rng(3).integers(0, 256, (2, side, side, 3)).astype(np.float32)
    network = whole.get_layer("efficientnet_lite0")
    names = ("blocks_5_expand_conv_relu", "blocks_11_expand_conv_relu", "conv_head_relu")
    maps = keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    expected = [np.mean(values, axis=(1, 2)) for values in maps((images - 127) / 128)]
    features = np.asarray(whole(images))
    assert np.allclose(features, np.concatenate(expected, axis=1), atol=1e-5)
    fine = build_backbone("efficientnet_lite0", **settings, strides=(8, 16))
    assert np.allclose(fine(images), features[:, : fine.output_shape[-1]], atol=1e-6)
    assert fine.count_params() < whole.count_params()


def test_strides_without_maps_of_their_own_are_refused() -> None:
    with pytest.raises(InputError, match=r"pretrained\.strides: expected .* Received: 3\."):
        mobilenet(strides=(3,))
    with pytest.raises(InputError, match=r"pretrained\.strides: .* different maps.*\[16, 32\]"):
        build_backbone("mobilenet_v2_035", image_size=40, weights="random", strides=[16, 32])


def test_features_of_two_backbones_follow_each_other() -> None:
    keys = ["efficientnet_lite0", "efficientnet_lite1"]
    images, _ = four_classes(3)
    network = build_backbone(keys, image_size=SIDE, weights="packaged", strides=[8])
    each = [build_backbone(key, image_size=SIDE, weights="packaged", strides=[8]) for key in keys]
    expected = [one.predict_on_batch(images) for one in each]
    found = network.predict_on_batch(images)
    assert np.allclose(found, np.concatenate(expected, axis=1), atol=1e-5)
    assert network.trainable_weights == []
