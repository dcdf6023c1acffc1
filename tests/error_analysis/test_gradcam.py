"""Grad-CAM on tiny networks."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from tests.pipeline import ROOT
from tissue.backbones.build import build_backbone
from tissue.config.loading import load_params
from tissue.data.index import Dataset
from tissue.error_analysis.gradcam import error_heat, heat_maps, own_features, split_at_maps
from tissue.error_analysis.table import HEAT_SIDE
from tissue.training.fine_tuning import unfreeze
from tissue.training.head import build_head, join_backbone

CLASSES = ["dark", "bright"]


def bright_half_network(pooling: str = "GlobalAveragePooling2D") -> keras.Model:
    """Class 1 where pixels are bright, class 0 where they are dark."""
    images = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(2, 1, activation="relu", name="maps")(images)
    pooled = getattr(keras.layers, pooling)()(maps)
    network = keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))
    weights = np.stack([np.full(3, -1.0), np.full(3, 1.0)], axis=1)[None, None] / 765
    network.set_weights([weights, np.array([0.5, -0.5]), 4 * np.eye(2), np.zeros(2)])
    return network


@pytest.mark.parametrize("pooling", ["GlobalAveragePooling2D", "GlobalMaxPooling2D"])
def test_heat_lies_where_the_class_is(pooling: str) -> None:
    images = np.zeros((11, 16, 16, 3), np.uint8)
    images[:, :, 8:] = 255
    heat = heat_maps(bright_half_network(pooling), images, np.tile([[1, 0]], (11, 1)))
    assert heat.shape == (11, 2, HEAT_SIDE, HEAT_SIDE)
    assert heat.max() == 255
    assert heat[:, 0, :, 16:].mean() > 200 > 20 > heat[:, 0, :, :12].mean()
    assert heat[:, 1, :, :12].mean() > 200 > 20 > heat[:, 1, :, 16:].mean()


@pytest.mark.parametrize("strides", [(32,), (8, 32)])
def test_network_split_in_two_is_the_same(strides: tuple[int, ...]) -> None:
    network = build_backbone(
        "efficientnet_lite0", image_size=64, weights="packaged", strides=strides
    )
    images = np.random.default_rng(1).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    to_maps, to_output = split_at_maps(network)
    maps = to_maps(images)
    assert maps.shape == (3, 2, 2, 1280)
    assert np.array_equal(to_output(images, maps), network(images))
    # And the output depends on the maps through their mean only.
    raised = np.asarray(to_output(images, maps + 1) - to_output(images, maps))
    assert np.allclose(raised[:, -1280:], 1, atol=1e-4)
    assert not raised[:, :-1280].any()


def test_blocks_of_a_network_may_be_networks_themselves() -> None:
    network = build_backbone("convnext_tiny", image_size=64, weights="random")
    images = keras.ops.ones((1, 64, 64, 3))
    to_maps, to_output = split_at_maps(network)
    assert to_maps(images).shape == (1, 2, 2, 768)
    assert np.array_equal(to_output(images, to_maps(images)), network(images))


def test_heat_of_both_models_follows_the_rows_of_the_errors(tmp_path: Path) -> None:
    inner = bright_half_network()
    image = keras.Input((16, 16, 3))
    features = keras.Model(inner.inputs, inner.layers[-2].output, name="features")
    backbone = keras.Model(image, features(keras.layers.Rescaling(1.0)(image)), name="backbone")
    backbone.trainable = False
    wide = keras.Input((3,))
    head = keras.Model(wide, keras.layers.Dense(2, activation="softmax")(wide), name="head")
    head.set_weights([np.array([[4.0, 0], [0, 4], [0, 0]]), np.zeros(2)])
    padded = keras.layers.Lambda(lambda x: keras.ops.pad(x, ((0, 0), (0, 1))))(backbone(image))
    pretrained = keras.Model(image, head(padded))
    images = np.zeros((2, 16, 16, 3), np.uint8)
    images[0, :, 8:], images[1, :, :8] = 255, 255
    index = pd.DataFrame({"id": ["left dark", "right dark"]})
    index.to_csv(tmp_path / "test.csv", index=False)
    np.save(tmp_path / "test.npy", np.ones((2, 1, 3), np.float32))
    errors = pd.DataFrame({
        "model": ["pretrained", "pretrained", "scratch"],
        "id": ["right dark", "left dark", "left dark"],
        "predicted": "bright", "class": "dark",
    })  # fmt: skip
    test = Dataset(images, index)
    networks = {"scratch": inner, "pretrained": pretrained}
    heat = error_heat(networks, errors, test, tmp_path, classes=CLASSES)
    assert heat[0, 0, :, :12].mean() > 200 > 20 > heat[0, 0, :, 16:].mean()
    for row in (1, 2):
        assert heat[row, 0, :, 16:].mean() > 200 > 20 > heat[row, 0, :, :12].mean()
    assert error_heat({"pretrained": head}, errors, test, tmp_path, classes=CLASSES).max() == 0
    assert error_heat(networks, errors.head(0), test, tmp_path, classes=CLASSES).shape[0] == 0


def test_heat_of_a_fine_tuned_network_is_that_of_its_own_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    crops = rng.integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8)
    backbone = build_backbone("mobilenet_v2_035", image_size=32, weights="random")
    settings, width = load_params(ROOT / "params.yaml").pretrained, backbone.output_shape[-1]
    head = build_head(rng.random((8, 2 * width), np.float32), settings, classes=2, seed=1)
    network = join_backbone(backbone, head, crops=2)
    unfreeze(backbone, 10)
    features = own_features(network, images, crops)
    expected = network.predict_on_batch([images, crops])
    assert head.predict_on_batch(features) == pytest.approx(expected, abs=1e-5)
    index = pd.DataFrame({"id": ["a", "b", "c"]})
    errors = pd.DataFrame(
        {"model": "pretrained", "id": ["c", "a"], "predicted": "bright", "class": "dark"}
    )
    # The cached features are not read.
    test, nowhere = Dataset(images, index, crops), tmp_path / "nowhere"
    heat = error_heat({"pretrained": network}, errors, test, nowhere, classes=CLASSES)
    rows = np.array([2, 0])
    expected_heat = heat_maps(network, images[rows], np.array([[1, 0], [1, 0]]), features[rows])
    assert np.array_equal(heat, expected_heat)
