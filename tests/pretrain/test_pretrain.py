"""The drawn textures, their views, and the weights that were learnt from them."""

import hashlib
from functools import partialmethod
from pathlib import Path

import keras
import numpy as np
import pytest
from ruamel.yaml import YAML

from pretrain.batches import Targets, draw_pool, stain_map
from pretrain.formulas import FAMILIES, Formula
from pretrain.textures import draw
from pretrain.train import build_network, run
from pretrain.views import colour_histogram, view

HERE = Path(__file__).parents[2] / "pretrain"
WEIGHTS = HERE / "mobilenet_v2_035.weights.h5"
VIEW = {"side": 32, "crop": [0.4, 0.8]}


def read(name: str) -> dict:
    return YAML(typ="safe", pure=True).load(HERE / name)


@pytest.mark.parametrize("index", range(len(FAMILIES)))
def test_seed_determines_the_texture(index: int) -> None:
    first = draw(Formula(index, seed=5), size=64, seed=[5, 0])
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, draw(Formula(index, seed=5), size=64, seed=[5, 0]))
    assert np.any(first != draw(Formula(index, seed=5), size=64, seed=[5, 1]))


def test_classes_differ() -> None:
    values = np.stack([Formula(index, seed=5).values() for index in range(50)])
    assert len(np.unique(values.round(3), axis=0)) == 50
    means = [draw(Formula(i, seed=5), size=64, seed=[0]).mean((0, 1)) for i in range(10)]
    assert len(np.unique(np.round(means, 2), axis=0)) == 10


def test_another_seed_gives_other_formulas() -> None:
    assert np.any(Formula(3, seed=5).values() != Formula(3, seed=6).values())


def test_pool_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    settings = {"classes": 2, "instances": 3, "size": 32}
    one = draw_pool(tmp_path / "one.npy", settings, seed=5, processes=1)
    two = draw_pool(tmp_path / "two.npy", settings, seed=5, processes=2)
    np.testing.assert_array_equal(one, two)


def test_batches_repeat(tmp_path: Path) -> None:
    settings = {"classes": 2, "instances": 2, "size": 64}
    pool = draw_pool(tmp_path / "pool.npy", settings, seed=5, processes=1)
    targets = Targets(pool, seed=5, settings=VIEW)
    streams = [targets.batches(pool, batch_size=4) for _ in range(2)]
    for _ in range(2):
        (images, expected), (again, repeated) = next(streams[0]), next(streams[1])
        np.testing.assert_array_equal(images, again)
        for name, values in expected.items():
            np.testing.assert_array_equal(values, repeated[name])
            assert np.isfinite(values).all()


def test_view_shows_the_stains_it_reports() -> None:
    empty = np.zeros((64, 64, 3), np.uint8)
    for seed in range(10):
        shown = view(empty, np.random.default_rng(seed), **VIEW)
        assert shown.picture.shape == (32, 32, 3)
        assert shown.picture.min() > 150  # nothing but light and noise
        assert not shown.stains.any()


def test_colour_histogram_sums_to_one() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert colour_histogram(picture).dtype == np.float32
    np.testing.assert_allclose((colour_histogram(picture) ** 2).sum(), 1, rtol=1e-5)


def test_stain_map_is_mean_and_deviation_of_cells() -> None:
    stains = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    cell = stains[1, 8:16, 0:8]
    found = stain_map(stains, 8)[1, 1, 0]
    np.testing.assert_allclose(found[:3], 2 * cell.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(found[3:], 2 * cell.std((0, 1)), rtol=1e-3)


def test_weights_are_those_of_the_lock_file() -> None:
    outputs = {out["path"]: out for out in read("dvc.lock")["stages"]["pretrain"]["outs"]}
    for path in (WEIGHTS, HERE / "metrics.json"):
        recorded = outputs[f"pretrain/{path.name}"]
        assert recorded["md5"] == hashlib.md5(path.read_bytes()).hexdigest()
    assert WEIGHTS.stat().st_size < 6e6


def test_scripts_and_params_are_those_of_the_lock_file() -> None:
    lock = read("dvc.lock")["stages"]["pretrain"]
    assert lock["params"]["pretrain/params.yaml"] == read("params.yaml")
    recorded = {dep["path"]: dep["md5"] for dep in lock["deps"]}
    assert {f"pretrain/{script.name}" for script in HERE.glob("*.py")} <= set(recorded)
    for path, digest in recorded.items():
        assert hashlib.md5((HERE.parent / path).read_bytes()).hexdigest() == digest, path


def test_training_writes_weights_that_load_and_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tracing the step would take longer than these few steps.
    eager = partialmethod(keras.Model.compile, run_eagerly=True)
    monkeypatch.setattr(keras.Model, "compile", eager)
    params = read("params.yaml") | {
        "pool": {"classes": 3, "instances": 2, "size": 48},
        "view": {"side": 32, "crop": [0.5, 0.9]},
        "calibrate": {"pictures": 4, "side": 64},
    }
    params["train"] |= {"batch_size": 4, "steps_per_epoch": 3, "epochs": 2}
    metrics = run(params, weights=tmp_path / "new.weights.h5", cache=tmp_path)
    assert metrics["images"] == 2 * 3 * 4
    assert metrics["held_out"]["top5_accuracy"] == 1  # of three classes
    assert 0 <= metrics["held_out"]["accuracy"] <= 1
    calibrated, trained = build_network(64), build_network(32)
    calibrated.load_weights(tmp_path / "new.weights.h5")
    trained.load_weights(tmp_path / "last.weights.h5")
    (kernel, *statistics), (as_trained, *running) = (
        [*net.get_layer("Conv1").get_weights(), *net.get_layer("bn_Conv1").get_weights()[2:]]
        for net in (calibrated, trained)
    )
    np.testing.assert_array_equal(kernel, as_trained)
    # Those of pictures of the size in use, and not of the training.
    assert not np.array_equal(statistics, running)
    assert np.isfinite(statistics).all()


@pytest.mark.parametrize("side", [96, 224])
def test_weights_load_at_any_size(side: int) -> None:
    backbone = build_network(side)
    backbone.load_weights(WEIGHTS)
    images = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    features = np.asarray(backbone(images, training=False))
    assert features.shape == (2, 1280)
    assert np.isfinite(features).all()
    assert features.std() > 0
