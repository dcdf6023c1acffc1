"""Grad-CAM on tiny networks: places, views, crops and branches."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from tests.networks import coefficients
from tests.pipeline import ROOT
from tissue.backbones.build import build_backbone
from tissue.common.augmentation import VIEWS, dihedral, undo_dihedral
from tissue.common.files import write_json
from tissue.common.names import MODELS
from tissue.config.loading import load_params
from tissue.data.features import RECORDED
from tissue.data.index import Dataset
from tissue.error_analysis import gradcam
from tissue.error_analysis.gradcam import (
    Views,
    explain_decisions,
    explain_errors,
    views_of,
)
from tissue.error_analysis.last_maps import (
    cut_network,
    empty_slides,
    locate_crops,
    resize_maps,
    split_at_maps,
    split_each,
    tile_slices,
)
from tissue.error_analysis.table import HEAT_SIDE, branch_sentence
from tissue.training.fine_tuning import unfreeze
from tissue.training.head import Coefficients, build_head, join_backbone
from tissue.training.inference import predict_batch
from tissue.training.scratch import build_scratch

CLASSES = ["blue", "red"]
PARAMS = load_params(ROOT / "params.yaml")
SIDE = 16
ONE = Views(1, 2)
RED, BLUE = (200, 0, 0), (0, 0, 200)


def colour_network(pooling: str = "GlobalAveragePooling2D") -> keras.Model:
    """Class 1 where pixels are red, class 0 where they are blue; white is neither."""
    images = keras.Input((SIDE, SIDE, 3))
    maps = keras.layers.Conv2D(2, 1, activation="relu", name="maps")(images)
    pooled = getattr(keras.layers, pooling)()(maps)
    network = keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))
    weights = np.array([[-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])[None, None] / 255
    network.set_weights([weights, np.zeros(2), 4 * np.eye(2), np.zeros(2)])
    return network


def two_scales(crops: int, *, weights: tuple[float, float] = (4.0, 4.0)) -> keras.Model:
    """The same for whole image and crops; the weights of both branches."""
    inner = colour_network()
    backbone = keras.Model(inner.inputs, inner.layers[-2].output, name="backbone")
    kernel = np.concatenate([weight * np.eye(2) for weight in weights])[: 4 if crops else 2]
    mean, spread = np.full(len(kernel), 0.5), np.full(len(kernel), 0.3)
    fitted = Coefficients(mean, spread, kernel * 0.3, np.array([0.3, 0.0]))
    head = build_head(fitted, penalty=0.1)
    return join_backbone(backbone, head, crops=crops)


def half_red(count: int) -> np.ndarray:
    """Blue on the left, red on the right, with a white frame."""
    images = np.full((count, SIDE, SIDE, 3), 255, np.uint8)
    images[:, 1:-1, 1 : SIDE // 2], images[:, 1:-1, SIDE // 2 : -1] = BLUE, RED
    return images


@pytest.mark.parametrize("pooling", ["GlobalAveragePooling2D", "GlobalMaxPooling2D"])
@pytest.mark.parametrize("views", [1, 8])
def test_heat_lies_where_the_class_is(pooling: str, views: int) -> None:
    pairs = np.tile([[1, 0]], (11, 1))
    network = colour_network(pooling)
    heat, branches = explain_decisions(network, half_red(11), None, pairs, views=Views(views, 2))
    assert heat.shape == (11, 2, HEAT_SIDE, HEAT_SIDE)
    assert heat.max() == 255
    half = HEAT_SIDE // 2
    assert heat[:, 0, :, half + 2 :].mean() > 100 > 20 > heat[:, 0, :, : half - 2].mean()
    assert heat[:, 1, :, : half - 2].mean() > 100 > 20 > heat[:, 1, :, half + 2 :].mean()
    assert np.isnan(branches).all()


@pytest.mark.parametrize("view", range(VIEWS))
def test_a_view_is_turned_back(view: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 5, 5, 3))
    assert np.array_equal(undo_dihedral(dihedral(images, view), view), images)


def test_crops_are_put_in_their_places_and_each_branch_gets_its_share() -> None:
    # The whole image is red on the right, the crops at the bottom.
    images, crops = half_red(3), np.full((3, 4, SIDE, SIDE, 3), BLUE, np.uint8)
    crops[:, 2:] = RED
    pairs = np.tile([[1, 0]], (3, 1))
    only_crops = two_scales(4, weights=(0.0, 4.0))
    heat, branches = explain_decisions(only_crops, images, crops, pairs, views=Views(8, 2))
    half = HEAT_SIDE // 2
    assert heat[:, 0, half:].min() > 100 > 20 > heat[:, 0, :half].max()
    assert branches[:, 0] == pytest.approx(0, abs=1e-4)
    only_whole = two_scales(4, weights=(4.0, 0.0))
    heat, branches = explain_decisions(only_whole, images, crops, pairs, views=Views(1, 2))
    assert heat[:, 0, :, half + 2 :].mean() > 100 > 20 > heat[:, 0, :, : half - 2].mean()
    assert branches[:, 1] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("count", [0, 3, 4])
def test_branches_add_up_to_the_log_odds_of_the_averaged_views(count: int) -> None:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    tiles = rng.integers(0, 256, (3, count, SIDE, SIDE, 3), dtype=np.uint8)
    crops = tiles if count else None
    network = two_scales(count)
    pairs = np.array([[0, 1], [1, 0], [1, 0]])
    _, branches = explain_decisions(network, images, crops, pairs, views=Views(4, 2))
    each = np.log(predict_batch(network, images, crops, views=4)).mean(axis=1)
    odds = np.diff(np.take_along_axis(each, pairs[:, ::-1], axis=1)).ravel()
    head = network.get_layer("head")
    mean = np.asarray(head.get_layer("standardise").mean).reshape(1, -1)
    average = np.log(head.predict_on_batch(mean))[0]
    rest = average[pairs[:, 0]] - average[pairs[:, 1]]
    assert branches.sum(axis=1) + rest == pytest.approx(odds, abs=1e-3)
    if not count:
        assert not branches[:, 1].any()


def test_crops_are_found_by_what_they_show() -> None:
    rng = np.random.default_rng(2)
    zoom, side = 3, 48
    large = rng.integers(0, 256, (4, zoom * 8, zoom * 8, 3), dtype=np.uint8)
    large = np.kron(large, np.ones((side // 8, side // 8, 1), np.uint8)).reshape(
        4, zoom * side, zoom * side, 3
    )
    tiles = large.reshape(4, zoom, side, zoom, side, 3).swapaxes(2, 3).reshape(4, 9, side, side, 3)
    kept = np.array([[0, 4, 8], [1, 2, 3], [5, 6, 7], [2, 5, 8]])
    crops = np.stack([tiles[row, places] for row, places in enumerate(kept)])
    images = large[:, ::zoom, ::zoom]
    assert np.array_equal(locate_crops(images, crops, zoom=zoom), kept)
    assert locate_crops(images, tiles, zoom=zoom).tolist() == [list(range(9))] * 4


def test_tiles_cover_a_map_once() -> None:
    for zoom in (2, 3, 5, 16):
        covered = np.zeros((HEAT_SIDE, HEAT_SIDE), int)
        for place in range(zoom**2):
            covered[tile_slices(place, zoom, HEAT_SIDE)] += 1
        assert (covered == 1).all()


def test_a_resized_map_keeps_its_mean() -> None:
    values = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    for shape in ((28, 28), (9, 10), (2, 2)):
        assert resize_maps(values, shape).shape == shape
        assert resize_maps(values, shape).mean() == pytest.approx(values.mean(), abs=1e-5)


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


@pytest.mark.parametrize(("side", "cells"), [(112, 14), (224, 14), (32, 8)])
def test_network_from_scratch_is_explained_at_a_fine_layer(side: int, cells: int) -> None:
    settings = PARAMS.scratch.model_copy(update={"input_size": side})
    network = build_scratch(settings, image_size=64, classes=3)
    images = keras.random.uniform((2, 64, 64, 3), 0, 255, seed=1)
    to_maps, to_output = split_at_maps(network)
    maps = to_maps(images)
    assert maps.shape[1] == cells
    assert np.allclose(to_output(images, maps), network(images, training=False), atol=1e-6)


def test_blocks_of_a_network_may_be_networks_themselves() -> None:
    network = build_backbone("convnext_tiny", image_size=64, weights="random")
    images = keras.ops.ones((1, 64, 64, 3))
    to_maps, to_output = split_at_maps(network)
    assert to_maps(images).shape == (1, 2, 2, 768)
    assert np.array_equal(to_output(images, to_maps(images)), network(images))


def test_heat_of_both_models_follows_the_rows_of_the_errors(tmp_path: Path) -> None:
    scratch, pretrained = colour_network(), two_scales(0)
    images = half_red(2)
    images[1] = images[1, :, ::-1]
    index = pd.DataFrame({"id": ["left blue", "right blue"]})
    errors = pd.DataFrame({
        "model": ["pretrained", "pretrained", "scratch"],
        "id": ["right blue", "left blue", "left blue"],
        "predicted": "red", "class": "blue",
    })  # fmt: skip
    test = Dataset(images, index)
    networks, views = {"scratch": scratch, "pretrained": pretrained}, dict.fromkeys(MODELS, ONE)
    heat, branches = explain_errors(networks, errors, test, tmp_path, classes=CLASSES, views=views)
    half = HEAT_SIDE // 2
    assert heat[0, 0, :, : half - 2].mean() > 100 > 20 > heat[0, 0, :, half + 2 :].mean()
    for row in (1, 2):
        assert heat[row, 0, :, half + 2 :].mean() > 100 > 20 > heat[row, 0, :, : half - 2].mean()
    assert np.isnan(branches).any(axis=1).tolist() == [False, False, True]
    none = explain_errors(networks, errors.head(0), test, tmp_path, classes=CLASSES, views=views)
    assert none.heat.shape[0] == 0


def test_head_on_foreign_features_has_branches_and_no_maps(tmp_path: Path) -> None:
    network = two_scales(4)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    crops = rng.integers(0, 256, (2, 4, SIDE, SIDE, 3), dtype=np.uint8)
    backbone, head = network.get_layer("backbone"), network.get_layer("head")
    whole = backbone.predict_on_batch(images)
    magnified = backbone.predict_on_batch(crops.reshape(-1, SIDE, SIDE, 3)).reshape(2, 4, -1)
    features = np.concatenate([whole, magnified.mean(axis=1)], axis=1)[:, None]
    np.save(tmp_path / "test.npy", features.astype(np.float32))
    index = pd.DataFrame({"id": ["a", "b"]})
    index.to_csv(tmp_path / "test.csv", index=False)
    errors = pd.DataFrame(
        {"model": "pretrained", "id": ["b", "a"], "predicted": "red", "class": "blue"}
    )
    test, views = Dataset(images, index, crops), {"pretrained": ONE}
    options = {"classes": CLASSES, "views": views}
    bare = explain_errors({"pretrained": head}, errors, test, tmp_path, **options)
    joined = explain_errors({"pretrained": network}, errors, test, tmp_path, **options)
    assert bare.heat.max() == 0
    assert bare.branches == pytest.approx(joined.branches, abs=1e-4)


def test_heat_of_a_fine_tuned_network_needs_no_cached_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    crops = rng.integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8)
    backbone = build_backbone("mobilenet_v2_035", image_size=32, weights="random")
    width = backbone.output_shape[-1]
    head = build_head(coefficients(2 * width, classes=2), penalty=0.1)
    network = join_backbone(backbone, head, crops=2)
    unfreeze(backbone, 10)
    index = pd.DataFrame({"id": ["a", "b", "c"]})
    errors = pd.DataFrame(
        {"model": "pretrained", "id": ["c", "a"], "predicted": "red", "class": "blue"}
    )
    test, nowhere = Dataset(images, index, crops), tmp_path / "nowhere"
    found = explain_errors(
        {"pretrained": network}, errors, test, nowhere, classes=CLASSES, views={"pretrained": ONE}
    )
    rows = np.array([2, 0])
    pairs = np.array([[1, 0], [1, 0]])
    expected = explain_decisions(network, images[rows], crops[rows], pairs, views=ONE)
    assert np.array_equal(found.heat, expected.heat)


def test_views_are_those_that_were_averaged(tmp_path: Path) -> None:
    write_json({"split.crops": {"count": 4, "zoom": 3}}, tmp_path / "images.json")
    write_json(dict.fromkeys(RECORDED) | {"views": 5}, tmp_path / "network.json")
    views = views_of(tmp_path, tmp_path, scratch=2)
    assert views == {"scratch": Views(2, 3), "pretrained": Views(5, 3)}


@pytest.mark.parametrize(
    ("whole", "crops", "expected"),
    [
        (np.log(1.8), np.log(6), "The crops favour a over b 6.0 to 1, the whole image favours a "
         "over b 1.8 to 1."),
        (np.log(3.1), -np.log(2), "The whole image favours a over b 3.1 to 1, the crops favour b "
         "over a 2.0 to 1."),
        (9.0, 0.0, "The whole image favours a over b more than 1,000 to 1."),
        (np.nan, np.nan, ""),
    ],
)  # fmt: skip
def test_branches_in_words(whole: float, crops: float, expected: str) -> None:
    assert branch_sentence(whole, crops, "a", "b") == expected


def test_heat_of_two_backbones_is_the_sum_of_what_each_adds() -> None:
    """Two networks of different width, and a head whose weights of the other are 0."""
    size, keys = 32, ("efficientnet_lite0", "efficientnet_lite1")
    rng = np.random.default_rng(0)
    images, pairs = half_red(2).repeat(2, axis=1).repeat(2, axis=2), np.array([[0, 1], [1, 0]])
    crops = rng.integers(0, 256, (2, 2, size, size, 3), dtype=np.uint8)
    backbone = build_backbone(keys, image_size=size, weights="random", strides=[4, 8])
    widths = [layer.output_shape[-1] for layer in backbone.layers if hasattr(layer, "layers")]
    fitted = coefficients(2 * sum(widths), classes=2)

    def explain(shares: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        factor = np.tile(np.repeat(shares, widths), 2)[:, None]
        head = build_head(fitted._replace(kernel=fitted.kernel * factor), penalty=0.1)
        network = join_backbone(backbone, head, crops=2)
        slides = empty_slides(images)
        cut = [cut_network(parts, slides) for parts in split_each(backbone)]
        return gradcam._both_scales(cut, network.get_layer("head"), images, crops, pairs, views=ONE)

    maps, branches = explain((1.0, 1.0))
    one, two = explain((1.0, 0.0)), explain((0.0, 1.0))
    assert np.abs(one[0]).max() > 0
    assert np.abs(two[0]).max() > 0
    assert np.allclose(maps, one[0] + two[0], atol=1e-4 * np.abs(maps).max())
    assert np.allclose(branches, one[1] + two[1], atol=1e-3 * np.abs(branches).max())
