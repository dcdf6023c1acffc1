"""The table of backbones: each gets the images that its weights were made for, and can be saved."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
from keras import layers

from tissue.backbones import build as backbones
from tissue.backbones.build import BACKBONES, build_backbone, values_digest
from tissue.common.errors import InputError
from tissue.config import schema
from tissue.config.loading import load_params
from tissue.training.fine_tuning import unfreeze
from tissue.training.head import build_head, join_backbone
from tissue.training.inference import is_fine_tuned
from tissue.training.saving import load_model, save_model

# Keras asks NumPy in the way of its first version.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ROOT = Path(__file__).parents[2]
SIDE = 32
IMAGES = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
MODULES = {
    "mobilenet": "mobilenet",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3",
    "efficientnet_v2": "efficientnet_v2",
    "convnext": "convnext",
    "resnet50": "resnet",
    "densenet121": "densenet",
}
# One of each kind is saved; the others differ in their width and depth alone.
SAVED = (
    "mobilenet",
    "mobilenet_v2_050",
    "mobilenet_v3_small",
    "efficientnet_v2_b0",
    "convnext_tiny",
    "resnet50",
    "densenet121",
)


def module_of(key: str) -> str:
    """The module of keras.applications that holds a backbone."""
    return MODULES[max((name for name in MODULES if key.startswith(name)), key=len)]


@pytest.fixture(scope="module", params=list(BACKBONES))
def built(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    """Each backbone in turn, built once for all tests."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    return request.param, build_backbone(request.param, image_size=SIDE, weights="random")


def inner(backbone: keras.Model) -> keras.Model:
    return next(layer for layer in backbone.layers if isinstance(layer, keras.Model))


def answer(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a model makes of images, layer by layer: compiling it would take most of the time."""
    return np.asarray(model(images, training=False))


def test_keys_are_those_of_the_parameters() -> None:
    assert tuple(BACKBONES) == schema.BACKBONES
    documented = (ROOT / "docs/backbones.md").read_text(encoding="utf-8")
    assert all(f"| {key} |" in documented for key in BACKBONES)


def standardised(images: np.ndarray) -> np.ndarray:
    return (images / 255 - backbones.IMAGENET_MEAN) / backbones.IMAGENET_STD


def test_network_gets_what_keras_prepares_for_it(built: tuple[str, keras.Model]) -> None:
    key, backbone = built
    network = inner(backbone)
    *before, last = [x for x in backbone.layers if not isinstance(x, layers.InputLayer)]
    assert last is network
    received = IMAGES
    for layer in before:
        received = np.asarray(layer(received))
    module = importlib.import_module(f"keras.applications.{module_of(key)}")
    assert np.allclose(received, module.preprocess_input(IMAGES.copy()), atol=1e-4)
    # Some networks do it themselves, which Keras decides by their name.
    for layer in network.layers:
        if isinstance(layer, layers.Rescaling | layers.Normalization):
            received = np.asarray(layer(received))
        elif layer.weights:
            break
    if key == "resnet50":
        expected = IMAGES[..., ::-1] - backbones.CAFFE_MEAN_BGR
    elif key.startswith("mobilenet"):
        expected = IMAGES / 127.5 - 1
    else:
        expected = standardised(IMAGES)
    assert np.allclose(received, expected, atol=1e-4)


def test_frozen_pooled_and_open_to_fine_tuning(built: tuple[str, keras.Model]) -> None:
    _, backbone = built
    assert backbone.name == "backbone"
    assert len(backbone.output_shape) == 2
    model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
    assert not is_fine_tuned(model)
    try:
        unfreeze(model.get_layer("backbone"), 20)
        assert is_fine_tuned(model)
        owned = {id(weight) for weight in inner(backbone).trainable_weights}
        assert {id(weight) for weight in backbone.trainable_weights} == owned
        assert len(owned) < len(inner(backbone).weights)
    finally:
        inner(backbone).trainable = False


def small_head(width: int) -> keras.Model:
    features = np.random.default_rng(2).normal(3, 2, (40, width)).astype(np.float32)
    return build_head(features, load_params(ROOT / "params.yaml").pretrained, classes=4, seed=3)


@pytest.mark.parametrize("built", SAVED, indirect=True)
def test_saved_alike_and_loaded_without_running_code(
    built: tuple[str, keras.Model], tmp_path: Path
) -> None:
    _, backbone = built
    model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
    one, two = tmp_path / "one.keras", tmp_path / "two.keras"
    save_model(model, one)
    save_model(model, two)
    assert one.read_bytes() == two.read_bytes()
    two.unlink()
    loaded = load_model(one)
    assert values_digest(loaded) == values_digest(model)
    assert not is_fine_tuned(loaded)
    expected = answer(model, IMAGES)
    assert np.allclose(answer(loaded, IMAGES), expected, atol=1e-5)
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("key", BACKBONES)
def test_downloads_what_keras_downloads(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and its hash stand in Keras' code, where they may change with its version."""

    class AskedError(Exception):
        pass

    asked: list[tuple[str, str, str | None]] = []

    def note(fname: str, origin: str, *, cache_subdir: str, file_hash: str | None = None) -> None:
        asked.append((fname, origin, file_hash))
        raise AskedError

    module = importlib.import_module(f"keras.src.applications.{module_of(key)}")
    monkeypatch.setattr(module.file_utils, "get_file", note)
    monkeypatch.setattr(keras.utils, "get_file", note)
    spec = BACKBONES[key]
    with pytest.raises(AskedError):
        getattr(keras.applications, spec.application)(
            input_shape=(224, 224, 3), include_top=False, weights="imagenet", pooling="avg",
            **spec.options,
        )  # fmt: skip
    with pytest.raises(InputError, match="expected to download"):
        backbones.downloaded(key)
    theirs, ours = asked
    assert ours == theirs


def tiny_resnet(*, input_shape: tuple[int, int, int], name: str, **_: object) -> keras.Model:
    images = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, strides=32, padding="same", name="conv")(images)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name=name)


def test_published_hash_stands_for_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.applications, "ResNet50", tiny_resnet)
    path = tmp_path / "a.weights.h5"
    one = build_backbone("resnet50", image_size=SIDE, weights="random")
    inner(one).save_weights(path)
    hashes = []

    def get_file(*args: object, file_hash: str, **kwargs: object) -> str:
        hashes.append(file_hash)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    two = build_backbone("resnet50", image_size=SIDE, weights="imagenet")
    assert hashes == [BACKBONES["resnet50"].file_hash]
    assert values_digest(one) == values_digest(two)


def test_weights_of_a_larger_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras reads from a file what fits, and says nothing of the rest."""
    monkeypatch.setattr(keras.applications, "ResNet50", tiny_resnet)
    larger = tiny_resnet(input_shape=(SIDE, SIDE, 3), name="larger")
    top = layers.Dense(3)(larger.output)
    path = tmp_path / "a.weights.h5"
    keras.Model(larger.input, top).save_weights(path)
    message = r"expected weights of resnet50 without its top\. Received: 4 arrays instead of 2"
    with pytest.raises(InputError, match=message):
        build_backbone("resnet50", image_size=SIDE, weights=str(path))


@pytest.mark.parametrize("side", [SIDE, 224])
def test_features_are_the_means_of_the_last_maps_of_each_stride(side: int) -> None:
    strides = (8, 16, 32)
    whole = build_backbone("mobilenet_v2_035", image_size=side, weights="embedded", strides=strides)
    images = np.random.default_rng(3).integers(0, 256, (2, side, side, 3)).astype(np.float32)
    network = whole.get_layer("mobilenet_v2_035")
    names = ("block_6_expand_relu", "block_13_expand_relu", "out_relu")
    maps = keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    expected = [np.mean(values, axis=(1, 2)) for values in maps(images / 127.5 - 1, training=False)]
    features = answer(whole, images)
    assert np.allclose(features, np.concatenate(expected, axis=1), atol=1e-5)
    fine = build_backbone("mobilenet_v2_035", image_size=side, weights="embedded", strides=(8, 16))
    width = fine.output_shape[-1]
    assert np.allclose(answer(fine, images), features[:, :width], atol=1e-6)
    assert fine.count_params() < whole.count_params()


def test_every_backbone_has_maps_at_several_strides(
    built: tuple[str, keras.Model],
) -> None:
    key, _ = built
    backbone = build_backbone(key, image_size=SIDE, weights="random", strides=(8, 16))
    images = np.random.default_rng(3).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)
    features = answer(backbone, images)
    assert features.shape == (2, backbone.output_shape[-1])
    assert np.isfinite(features).all()


def test_a_stride_without_maps_is_told() -> None:
    with pytest.raises(InputError, match=r"pretrained\.strides: expected .* Received: 3\."):
        build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random", strides=(3,))
    with pytest.raises(InputError, match=r"pretrained\.strides: expected .* the same.*\[16, 32\]"):
        build_backbone("mobilenet_v2_035", image_size=40, weights="random", strides=[16, 32])
