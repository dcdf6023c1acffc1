"""The network from scratch and its training, on images of a few pixels."""

import math

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from tests.networks import (
    PARAMS,
    SCRATCH,
    SIDE,
    changed_params,
    dataset,
    four_classes,
    scratch,
)
from tissue.backbones.build import values_digest
from tissue.common.augmentation import shrink
from tissue.common.runtime import set_up
from tissue.training.batches import Batches
from tissue.training.scratch import (
    _pool_tissue,
    _progressive_phases,
    absorption,
    build_scratch,
    equalise,
    train_network,
)


def train(**changes: object) -> tuple[keras.Model, pd.DataFrame]:
    settings = SCRATCH.model_dump() | {"progressive": [], "warm_up": 1} | changes
    params = changed_params(scratch=settings, lr=0.0025, batch_size=8)
    return train_network(params, dataset(16), dataset(16), classes=4)


def test_images_in_probabilities_out() -> None:
    images, _ = four_classes(6)
    model = scratch(classes=5)
    assert model.input_shape == (None, SIDE, SIDE, 3)
    for batch in (images, images.astype(np.float32), np.zeros_like(images), images * 0 + 255):
        probabilities = model.predict_on_batch(batch)
        assert probabilities.shape == (6, 5)
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert (probabilities >= 0).all()


def test_glass_absorbs_nothing_and_white_balance_of_glass_does_not_matter() -> None:
    levels = np.float32([255, 242, 240, 127.5, 0]).reshape(1, 1, 5, 1)
    images = np.broadcast_to(levels, (1, 4, 5, 3))
    received = np.asarray(absorption(images))[0, 0, :, 0]
    assert np.allclose(received, [0, 0, 0, 0.44, 0.94], atol=2e-3)


def test_strength_of_the_staining_and_glass_around_do_not_matter() -> None:
    tissue = np.random.default_rng(0).uniform(0.3, 0.9, (1, 20, 20, 3)).astype(np.float32)
    equal = np.asarray(equalise(tissue))
    assert equal.mean() == pytest.approx(1, abs=0.15)
    around = np.pad(tissue, ((0, 0), (10, 10), (10, 10), (0, 0)))
    assert np.allclose(equalise(around)[:, 10:-10, 10:-10], equal, atol=1e-3)
    # Half the absorption; the plain ratio would be 2.
    assert np.asarray(equal / equalise(tissue / 2)).max() < 1.1
    # The ratio of the stains, their colour, stays.
    assert np.allclose(equal[..., 0] / equal[..., 2], tissue[..., 0] / tissue[..., 2], rtol=1e-4)
    assert not np.asarray(equalise(np.zeros_like(tissue))).any()


@pytest.mark.parametrize("side", [32, 45])
def test_maps_are_averaged_over_the_tissue(side: int) -> None:
    images = np.full((2, side, side, 3), 0.5, np.float32)
    images[0, : side // 2] = 0
    images[1] = 0
    cells = math.ceil((math.ceil(side / 2) // 2) / 2)
    maps = np.ones((2, cells, cells, 5), np.float32)
    maps[:, : cells // 2] = 5
    glass, tissue = np.asarray(_pool_tissue(maps, images, blocks=2))
    assert glass == pytest.approx([1.0] * 5, abs=0.6)
    assert tissue == pytest.approx([maps[1, :, :, 0].mean()] * 5, rel=1e-4)


def test_images_of_the_input_size_are_not_resized() -> None:
    model = build_scratch(SCRATCH, image_size=24, classes=3)
    assert not [layer for layer in model.layers if isinstance(layer, layers.Resizing)]


def test_channels_double_up_to_the_maximum() -> None:
    settings = SCRATCH.model_copy(update={"blocks": 3, "width": 4, "max_width": 8})
    model = build_scratch(settings, image_size=SIDE, classes=4)
    blocks = [model.get_layer(f"block{number}_add").output.shape[-1] for number in (1, 2, 3)]
    assert blocks == [4, 8, 8]


@pytest.mark.parametrize(
    ("progressive", "epochs", "sides"),
    [
        ([0.5, 0.75, 1.0], 7, {12: 2, 18: 2, 24: 3}),
        ([0.5, 1.0], 1, {24: 1}),
        ([0.5], 2, {12: 2}),
        ([], 2, {24: 2}),
    ],
)
def test_training_begins_with_smaller_images(
    progressive: list[float], epochs: int, sides: dict[int, int]
) -> None:
    settings = SCRATCH.model_copy(update={"progressive": progressive, "epochs": epochs})
    params = changed_params(scratch=dict(settings))
    phases = _progressive_phases(params, dataset(16), dataset(8), classes=4)
    assert {phase.train[0][0].shape[1]: phase.epochs for phase in phases} == sides
    assert [phase.val[0][0].shape[1] for phase in phases] == list(sides)
    firsts = np.cumsum([0, *sides.values()])[:-1]
    assert [phase.train.epoch for phase in phases] == firsts.tolist()


def test_network_of_whole_images_is_the_trained_one() -> None:
    network, history = train(progressive=[0.5, 1.0], epochs=2)
    assert history["phase"].tolist() == [1, 2]
    assert history["lr"].tolist() == pytest.approx([0.005, 0.01])
    assert network.input_shape == (None, SIDE, SIDE, 3)
    small = build_scratch(SCRATCH, image_size=SCRATCH.input_size, classes=4)
    small.set_weights(network.get_weights())
    images, _ = four_classes(16)
    shrunk = shrink(images, SCRATCH.input_size)
    assert np.allclose(network.predict_on_batch(images), small.predict_on_batch(shrunk), atol=0.01)


def test_batch_normalisation_fits_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Batches] = []
    monkeypatch.setattr(
        "tissue.training.scratch.update_bn", lambda _, batches: fitted.append(batches)
    )
    train(zoom=0.9, stain_jitter=0.0, epochs=1)
    served = np.concatenate([fitted[0][number][0] for number in range(len(fitted[0]))])
    # Turns and mirror images keep the pixels of an image, up to rounding.
    turned, whole = (
        np.sort(images.reshape(16, -1)).astype(int) for images in (served, dataset(16).images)
    )
    gaps = np.abs(turned[:, None] - whole).max(axis=2)
    assert gaps.min(axis=1).max() <= 2
    assert gaps.min(axis=0).max() <= 2


def test_epochs_of_few_images_repeat_them() -> None:
    for least, steps in ((0, 2), (40, 5)):
        settings = SCRATCH.model_copy(update={"progressive": [], "epoch_images": least})
        params = changed_params(scratch=dict(settings), batch_size=8)
        (phase,) = _progressive_phases(params, dataset(16), dataset(16), classes=4)
        assert len(phase.train) == steps
        assert phase.val is not None
        assert len(phase.val) == 2


def test_learns_four_obvious_classes() -> None:
    images, labels = four_classes(32)
    network, _ = train(epochs=20)
    assert (network.predict_on_batch(images).argmax(axis=1) == labels).mean() > 0.95


def test_same_seed_same_training() -> None:
    def digest() -> str:
        set_up(seed=1, threads=PARAMS.threads)
        return values_digest(train(epochs=1)[0])

    assert digest() == digest()
