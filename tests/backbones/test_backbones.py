"""Every backbone of the catalogue: it gets the images that its weights expect, and can be saved."""

import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import keras
import numpy as np
import pytest
from keras import layers

from tests.networks import SIDE, joined
from tissue.backbones import build, efficientnet_lite
from tissue.common.backbones import BACKBONES, PACKAGED
from tissue.common.errors import InputError
from tissue.training.fine_tuning import unfreeze
from tissue.training.inference import is_fine_tuned
from tissue.training.saving import load_model, save_model

IMAGES = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)


def module_of(key: str) -> ModuleType:
    """The module of Keras, or ours, that holds a backbone."""
    if key in PACKAGED:
        return efficientnet_lite
    return sys.modules[getattr(keras.applications, BACKBONES[key].application).__module__]


# The first of each kind is saved; the others differ in their width and depth alone.
SAVED = list({module_of(key): key for key in reversed(BACKBONES)}.values())
# Keras compares shapes when it builds these; layers of the others can be stand-ins.
NEED_LAYERS = ("convnext", "mobilenet_v3")


@pytest.fixture(scope="module", params=list(BACKBONES))
def built(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    """Each backbone in turn, with maps at several strides, built once for all tests."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    settings = {"image_size": SIDE, "weights": "random", "strides": (8, 16, 32)}
    return request.param, build.build_backbone(request.param, **settings)


def inner(backbone: keras.Model) -> keras.Model:
    return next(layer for layer in backbone.layers if isinstance(layer, keras.Model))


def predict(model: keras.Model) -> np.ndarray:
    """Predict layer by layer: compiling the model would take most of the time."""
    return np.asarray(model(IMAGES, training=False))


def test_network_gets_what_keras_prepares_for_it(built: tuple[str, keras.Model]) -> None:
    key, backbone = built
    network = inner(backbone)
    *before, last = [x for x in backbone.layers if not isinstance(x, layers.InputLayer)]
    assert last is network
    received = IMAGES
    for layer in before:
        received = np.asarray(layer(received))
    if key in PACKAGED:
        assert np.allclose(received, (IMAGES - 127) / 128, atol=1e-4)
        return
    assert np.allclose(received, module_of(key).preprocess_input(IMAGES.copy()), atol=1e-4)
    # Some networks scale by themselves, which Keras decides by their name.
    for layer in network.layers:
        if isinstance(layer, layers.Rescaling | layers.Normalization):
            received = np.asarray(layer(received))
        elif layer.weights:
            break
    if key == "resnet50":
        expected = IMAGES[..., ::-1] - build.CAFFE_MEAN_BGR
    elif key.startswith("mobilenet"):
        expected = IMAGES / 127.5 - 1
    else:
        expected = (IMAGES / 255 - build.IMAGENET_MEAN) / build.IMAGENET_STD
    message = f"tissue/common/backbones.py: {key} does not get the images of its training"
    assert np.allclose(received, expected, atol=1e-4), f"{message}; correct scaling or options"


def test_frozen_pooled_and_open_to_fine_tuning(built: tuple[str, keras.Model]) -> None:
    _, backbone = built
    assert backbone.name == "backbone"
    features = predict(backbone)
    assert features.shape == (2, backbone.output_shape[-1])
    assert np.isfinite(features).all()
    model = joined(backbone)
    assert not is_fine_tuned(model)
    try:
        unfreeze(backbone, 20)
        assert is_fine_tuned(model)
        owned = {id(weight) for weight in inner(backbone).trainable_weights}
        assert {id(weight) for weight in backbone.trainable_weights} == owned
        assert len(owned) < len(inner(backbone).weights)
    finally:
        inner(backbone).trainable = False


@pytest.mark.parametrize("built", SAVED, indirect=True)
def test_saved_alike_and_loaded_without_running_code(
    built: tuple[str, keras.Model], tmp_path: Path
) -> None:
    _, backbone = built
    model = joined(backbone)
    one, two = tmp_path / "one.keras", tmp_path / "two.keras"
    save_model(model, one)
    save_model(model, two)
    assert one.read_bytes() == two.read_bytes()
    two.unlink()
    loaded = load_model(one)
    assert build.values_digest(loaded) == build.values_digest(model)
    assert not is_fine_tuned(loaded)
    expected = predict(model)
    assert np.allclose(predict(loaded), expected, atol=1e-5)
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("key", sorted({*BACKBONES} - {*PACKAGED}))
def test_downloads_what_keras_downloads(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and its hash are in Keras' code, where they may change with its version."""

    class RequestedError(Exception):
        pass

    requested: list[tuple[str, str, str | None]] = []

    def note(fname: str, origin: str, *, cache_subdir: str, file_hash: str | None = None) -> None:
        requested.append((fname, origin, file_hash))
        raise RequestedError

    if not key.startswith(NEED_LAYERS):
        for name in ("layers", "Functional"):  # to build a network would take seconds
            monkeypatch.setattr(module_of(key), name, MagicMock())
    monkeypatch.setattr(module_of(key).file_utils, "get_file", note)
    monkeypatch.setattr(keras.utils, "get_file", note)
    backbone = BACKBONES[key]
    with pytest.raises(RequestedError):
        getattr(keras.applications, backbone.application)(
            input_shape=(224, 224, 3), include_top=False, weights="imagenet", pooling="avg",
            **backbone.options,
        )  # fmt: skip
    with pytest.raises(InputError, match="expected to download"):
        build.download_weights(key)
    theirs, ours = requested
    assert ours == theirs, f"tissue/common/backbones.py: {key}: Keras downloads {theirs}"
