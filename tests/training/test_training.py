"""Networks, their training, saving and prediction, on images of a few pixels."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
from keras import layers

from stages import embed, evaluate, train_pretrained, train_scratch
from tissue.backbones import build as backbones
from tissue.backbones import embed_chunks as embedders
from tissue.backbones.build import build_backbone, values_digest
from tissue.backbones.embedding import embed_batch
from tissue.chunks.files import Files
from tissue.common.augmentation import augment, dihedral, mix, shrink
from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.common.runtime import set_up
from tissue.common.stains import augment_stains, views_per_staining
from tissue.config.loading import load_params
from tissue.config.schema import Pretrained
from tissue.data.index import Dataset
from tissue.training.fine_tuning import Scales, _change, fine_tune, unfreeze
from tissue.training.frozen_maps import cut_below_trained, pick_copy
from tissue.training.head import build_head, join_backbone
from tissue.training.inference import is_fine_tuned, predict_batch, predict_features
from tissue.training.loop import Batches, fit, live_log, update_bn, validation_loss
from tissue.training.saving import load_model, save_model
from tissue.training.scratch import build_scratch

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")
HEAD = PARAMS.pretrained
SCRATCH = PARAMS.scratch.model_copy(update={"input_size": 24, "width": 6, "blocks": 1})
SIDE = 32
Images = NDArray[np.uint8]
# Keras asks NumPy in the way of its first version.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def _runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    # The path of the embedded weights is relative to the root.
    monkeypatch.chdir(ROOT)
    set_up(seed=1, threads=PARAMS.threads)


def four_classes(n: int, seed: int = 0) -> tuple[Images, NDArray[np.int64]]:
    """Noise on a ground that is dark, red, blue or white."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    grounds = np.array([[40, 40, 40], [200, 60, 60], [60, 60, 200], [230, 230, 230]])
    images = grounds[labels][:, None, None] + rng.normal(0, 20, (n, SIDE, SIDE, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


def scratch(classes: int = 4) -> keras.Model:
    return build_scratch(SCRATCH, image_size=SIDE, classes=classes)


def small_head(width: int, classes: int = 4, rows: int = 40) -> keras.Model:
    features = np.random.default_rng(2).normal(3, 2, (rows, width)).astype(np.float32)
    return build_head(features, HEAD, classes=classes, seed=3)


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    """The real backbone with random weights; tests must leave it as it is."""
    set_up(seed=5, threads=PARAMS.threads)  # before the fixture above
    return build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of MobileNetV2, which takes seconds to build, a network of two convolutions."""

    def build(
        *, input_shape: tuple[int, int, int], alpha: float, name: str, **_: object
    ) -> keras.Model:
        images = x = keras.Input(input_shape)
        for number, strides in enumerate((2, 16)):  # 32 together, as of the real one
            x = layers.Conv2D(
                round(20 * alpha), 3, strides=strides, padding="same", name=f"conv{number}"
            )(x)
            x = layers.BatchNormalization(name=f"norm{number}")(x)
            x = layers.ReLU(6.0, name=f"relu{number}")(x)
        return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name=name)

    monkeypatch.setattr(keras.applications, "MobileNetV2", build)


class TestScratch:
    def test_images_in_probabilities_out(self) -> None:
        images, _ = four_classes(6)
        model = scratch(classes=5)
        assert model.input_shape == (None, SIDE, SIDE, 3)
        for batch in (images, images.astype(np.float32), np.zeros_like(images), images * 0 + 255):
            probabilities = model.predict_on_batch(batch)
            assert probabilities.shape == (6, 5)
            assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
            assert (probabilities >= 0).all()

    def test_range_of_the_images_is_0_to_255(self) -> None:
        scale = scratch().get_layer("scale")
        assert np.allclose(scale(np.float32([0, 127.5, 255])), [-1, 0, 1])

    def test_images_of_the_size_of_the_network_are_not_resized(self) -> None:
        model = build_scratch(SCRATCH, image_size=24, classes=3)
        assert not [layer for layer in model.layers if isinstance(layer, layers.Resizing)]

    def test_size_and_depth_follow_the_settings(self) -> None:
        larger = SCRATCH.model_copy(update={"blocks": 2, "width": 8})
        model = build_scratch(larger, image_size=SIDE, classes=4)
        assert model.count_params() > scratch().count_params()
        assert model.get_layer("block2_add").output.shape[-1] == 8 * 2

    def test_channels_double_up_to_the_most(self) -> None:
        settings = SCRATCH.model_copy(update={"blocks": 3, "width": 4, "max_width": 8})
        model = build_scratch(settings, image_size=SIDE, classes=4)
        blocks = [model.get_layer(f"block{number}_add").output.shape[-1] for number in (1, 2, 3)]
        assert blocks == [4, 8, 8]

    @pytest.mark.parametrize(
        ("pooling", "features"), [("average", 8), ("average_max", 16), ("all_blocks", 20)]
    )
    def test_pooling_of_the_last_or_of_all_maps(self, pooling: str, features: int) -> None:
        update = {"blocks": 2, "width": 4, "pooling": pooling}
        model = build_scratch(SCRATCH.model_copy(update=update), image_size=SIDE, classes=4)
        assert model.get_layer("features").output.shape[-1] == features

    def test_network_for_whole_images_is_the_one_that_was_trained(self) -> None:
        images, labels = four_classes(16)
        part = Dataset(images, pd.DataFrame({"label": labels}))
        network, table = train_scratch.train(
            SCRATCH.model_copy(update={"epochs": 2}), part, part,
            classes=4, seed=1, lr=0.01, batch_size=8,
        )  # fmt: skip
        assert network.input_shape == (None, SIDE, SIDE, 3)
        small = build_scratch(SCRATCH, image_size=SCRATCH.input_size, classes=4)
        small.set_weights(network.get_weights())
        shrunk = shrink(images, SCRATCH.input_size)
        assert np.allclose(
            network.predict_on_batch(images), small.predict_on_batch(shrunk), atol=0.01
        )
        assert len(table) == 2

    @pytest.mark.parametrize(
        ("progressive", "epochs", "sides"),
        [([0.5, 0.75], 7, [12, 12, 18, 18, 24, 24, 24]), ([0.5], 1, [24]), ([], 2, [24, 24])],
    )
    def test_training_begins_with_smaller_images(
        self,
        progressive: list[float],
        epochs: int,
        sides: list[int],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        made: list[int] = []

        def spy(images: Images, rng: np.random.Generator, *, size: int = 0, **changes) -> Images:
            made.append(size)
            return augment(images, rng, size=size or None, **changes)

        monkeypatch.setattr("tissue.common.augmentation.augment", spy)
        seen: list[int] = []
        note = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(made[-1])
        )
        images, labels = four_classes(16)
        part = Dataset(images, pd.DataFrame({"label": labels}))
        update = {"progressive": progressive, "epochs": epochs, "patience": epochs}
        _, table = train_scratch.train(
            SCRATCH.model_copy(update=update), part, part,
            classes=4, seed=1, lr=0.01, batch_size=16, logs=[live_log(tmp_path), note],
        )  # fmt: skip
        assert seen == sides
        assert table["epoch"].tolist() == list(range(1, epochs + 1))
        assert table["phase"].tolist() == [1 + sorted(set(sides)).index(side) for side in sides]
        # One schedule over all of them, and one log.
        rates = table["lr"].tolist()
        assert rates[2:] == sorted(rates[2:], reverse=True)
        logged = pd.read_csv(tmp_path / "plots/metrics/train/loss.tsv", sep="\t")
        assert logged["step"].tolist() == list(range(epochs))
        np.testing.assert_allclose(logged["loss"], table["loss"], rtol=1e-6)

    def test_averaged_weights_are_the_mean_over_the_steps_of_the_last_epochs(self) -> None:
        images, labels = four_classes(16)
        steps: list[list[NDArray[np.float32]]] = []

        def train_with(average: float) -> tuple[keras.Model, Batches, pd.DataFrame]:
            set_up(seed=3, threads=PARAMS.threads)
            model = scratch()
            compile_and_fit = model.fit

            def spy(*args: object, callbacks: list, **kwargs: object) -> object:
                note = keras.callbacks.LambdaCallback(
                    on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
                )
                return compile_and_fit(*args, callbacks=[*callbacks, note], **kwargs)

            model.fit = spy
            train = Batches(images, labels, classes=4, batch_size=8, seed=1)
            settings = {"lr": 0.01, "epochs": 4, "patience": 1, "warm_up": 1}
            return model, train, fit(model, train, train, average=average, **settings)

        model, train, table = train_with(0.75)
        assert len(steps) == 4 * 2
        for values, *last in zip(model.get_weights(), *steps[2:], strict=True):
            assert np.allclose(values, np.mean(last, axis=0), atol=1e-6)
        # What is validated is the mean, not the last step.
        assert table["val_loss"].iloc[-1] == pytest.approx(validation_loss(model, train), rel=1e-4)
        # The steps go on until the end: at a rate of zero they would all be the last.
        assert table["lr"].tolist() == pytest.approx([0.005, 0.01, 0.01, 0.01])

    @pytest.mark.parametrize("average", [0.0, 0.5, 1.0])
    def test_a_training_that_diverges_is_stopped(self, average: float) -> None:
        images, labels = four_classes(16)
        train = Batches(images, labels, classes=4, batch_size=8, seed=1)
        with pytest.raises(InputError, match=r"train: expected a loss that falls\..*a smaller lr"):
            fit(scratch(), train, train, lr=1e30, epochs=6, patience=6, average=average)

    def test_statistics_of_batches_are_those_of_the_weights_as_they_are(self) -> None:
        norm, frozen = layers.BatchNormalization(), layers.BatchNormalization(trainable=False)
        model = keras.Sequential([keras.Input((3,)), frozen, layers.Rescaling(1.0), norm])
        values = np.random.default_rng(1).normal(5, 2, (20, 3)).astype(np.float32)
        batches = Batches(values, np.zeros(20, np.int64), classes=2, batch_size=8)
        before = frozen.get_weights()
        update_bn(model, batches)
        shown = values / np.sqrt(1 + frozen.epsilon)
        each = [shown[at : at + 8] for at in (0, 8, 16)]
        expected = [np.mean([f(rows, axis=0) for rows in each], axis=0) for f in (np.mean, np.var)]
        assert np.allclose(norm.moving_mean, expected[0], atol=1e-4)
        assert np.allclose(norm.moving_variance, expected[1], atol=1e-4)
        assert norm.momentum == 0.99
        for old, new in zip(before, frozen.get_weights(), strict=True):
            assert np.array_equal(old, new)

    def test_learns_four_obvious_classes(self) -> None:
        images, labels = four_classes(32)
        model = scratch()
        train = Batches(images, labels, classes=4, batch_size=8, seed=1)
        val = Batches(images, labels, classes=4, batch_size=8)
        table = fit(model, train, val, lr=0.01, epochs=12, patience=12)
        assert list(table.columns) == [
            "epoch",
            "phase",
            "accuracy",
            "loss",
            "val_accuracy",
            "val_loss",
            "lr",
        ]
        assert list(table["epoch"]) == list(range(1, len(table) + 1))
        # Warm-up, then a cosine down to nothing.
        assert table["lr"].iloc[0] == pytest.approx(0.01 / 3)
        assert table["lr"].iloc[2] == pytest.approx(0.01)
        assert (table["lr"].iloc[2:].diff().dropna() < 0).all()
        right = model.predict_on_batch(images).argmax(axis=1) == labels
        assert right.mean() > 0.95

    def test_best_weights_are_kept(self) -> None:
        images, labels = four_classes(16)
        model = scratch()
        train = Batches(images, labels, classes=4, batch_size=8, seed=1)
        # The wrong way round: the better the training, the worse the validation.
        val = Batches(images, (labels + 1) % 4, classes=4, batch_size=8)
        table = fit(model, train, val, lr=0.01, epochs=8, patience=3)
        assert len(table) == table["val_loss"].argmin() + 1 + 3
        wanted = model.predict_on_batch(images)[np.arange(16), (labels + 1) % 4]
        loss = -np.log(wanted).mean()
        assert loss == pytest.approx(table["val_loss"].min(), abs=1e-3)

    def test_same_seed_same_training(self) -> None:
        images, labels = four_classes(16)

        def train(seed: int) -> str:
            set_up(seed=seed, threads=PARAMS.threads)
            model = scratch()
            batches = Batches(
                images, labels, classes=4, batch_size=8, seed=seed,
                change=lambda batch, rng: augment(batch, rng, zoom=0.3, stain_jitter=0.2),
            )  # fmt: skip
            fit(model, batches, Batches(images, labels, classes=4, batch_size=8),
                lr=0.01, epochs=1, patience=1)  # fmt: skip
            return values_digest(model)

        assert train(1) == train(1)


class TestBatches:
    LABELS = np.arange(23) % 3

    def batches(self, **changes: object) -> Batches:
        rows = np.arange(23, dtype=np.float32)[:, None]
        settings = {"classes": 3, "batch_size": 5, "seed": 4, **changes}
        return Batches(rows, self.LABELS, **settings)  # type: ignore[arg-type]

    @staticmethod
    def epoch(batches: Batches) -> list[int]:
        """Rows in the order in which an epoch serves them."""
        return [int(row) for number in range(len(batches)) for row in batches[number][0][:, 0]]

    def test_every_row_once_an_epoch_in_an_order_of_its_own(self) -> None:
        batches = self.batches()
        assert len(batches) == 5
        orders = []
        for _ in range(3):
            orders.append(self.epoch(batches))
            batches.on_epoch_end()
        assert all(sorted(order) == list(range(23)) for order in orders)
        assert len(set(map(tuple, orders))) == 3

    def test_same_seed_same_order_whichever_batch_is_asked_for_first(self) -> None:
        one, two = self.batches(), self.batches()
        backwards = {number: two[number][0] for number in reversed(range(len(two)))}
        for number in range(len(one)):
            assert np.array_equal(one[number][0], backwards[number])
        assert self.epoch(one) != self.epoch(self.batches(seed=5))

    def test_without_a_seed_in_order(self) -> None:
        batches = self.batches(seed=None)
        for _ in range(2):
            assert self.epoch(batches) == list(range(23))
            batches.on_epoch_end()

    def test_labels_go_with_their_rows(self) -> None:
        batches = self.batches()
        for number in range(len(batches)):
            rows, targets = batches[number]
            assert targets.shape == (len(rows), 3)
            assert np.array_equal(targets.argmax(axis=1), self.LABELS[rows[:, 0].astype(int)])
            assert (targets.sum(axis=1) == 1).all()

    def test_changes_depend_on_seed_epoch_and_batch_alone(self) -> None:
        def noise(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return rows * 0 + rng.random()

        one, two = self.batches(change=noise), self.batches(change=noise)
        _ = [two[number] for number in (4, 2, 0)]
        drawn = [float(one[number][0][0, 0]) for number in range(5)]
        assert drawn == [float(two[number][0][0, 0]) for number in range(5)]
        one.on_epoch_end()
        assert len({*drawn, *(float(one[number][0][0, 0]) for number in range(5))}) == 10

    def test_mixed_rows_have_mixed_labels(self) -> None:
        images = np.repeat(np.uint8([0, 80, 160]), 4)[:, None, None, None] * np.ones(
            (1, 4, 4, 3), np.uint8
        )
        labels = np.repeat(np.arange(3), 4)
        mixed, targets = mix(
            images, np.eye(3, dtype=np.float32)[labels], np.random.default_rng(1), 1.0
        )
        assert mixed.dtype == np.uint8
        assert np.allclose(targets.sum(axis=1), 1)
        assert (targets.max(axis=1) < 0.99).any()
        # Grey levels and labels are mixed by the same share and with the same partner.
        assert np.allclose(targets @ [0, 80, 160], mixed[:, 0, 0, 0], atol=0.51)
        batches = Batches(images, labels, classes=3, batch_size=12, seed=1, mixup=1.0)
        served, of_served = batches[0]
        assert np.allclose(of_served @ [0, 80, 160], served[:, 0, 0, 0], atol=0.51)

    def test_memory_mapped_images(self, tmp_path: Path) -> None:
        images, labels = four_classes(10)
        np.save(tmp_path / "a.npy", images)
        mapped = Batches(
            np.load(tmp_path / "a.npy", mmap_mode="r"), labels, classes=4, batch_size=4, seed=1
        )
        inside = Batches(images, labels, classes=4, batch_size=4, seed=1)
        for number in range(3):
            assert np.array_equal(mapped[number][0], inside[number][0])

    def test_training_serves_every_row_once_an_epoch(self) -> None:
        served: list[tuple[int, ...]] = []

        def note(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            served.append(tuple(int(row) for row in rows[:, 0]))
            return rows / 23

        inputs = keras.Input((1,))
        model = keras.Model(inputs, layers.Dense(3, activation="softmax")(inputs))
        fit(model, self.batches(change=note), self.batches(seed=None),
            lr=0.01, epochs=3, patience=3)  # fmt: skip
        # Before, Keras looks at some batches for their shape; within an epoch batches are prepared
        # in any order and served in theirs.
        epochs = [served[-5:], served[-10:-5], served[-15:-10]]
        for batches in epochs:
            assert sorted(row for batch in batches for row in batch) == list(range(23))
        assert len(set(map(frozenset, epochs))) == 3


class TestAugment:
    IMAGES = np.random.default_rng(6).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)

    def changed(self, seed: int = 1, *, zoom: float = 0.3, stain_jitter: float = 0.2) -> Images:
        rng = np.random.default_rng(seed)
        return augment(self.IMAGES, rng, zoom=zoom, stain_jitter=stain_jitter)

    def test_shape_type_and_seed(self) -> None:
        before = self.IMAGES.copy()
        first = self.changed()
        assert first.shape == self.IMAGES.shape
        assert first.dtype == np.uint8
        assert np.array_equal(first, self.changed())
        assert not np.array_equal(first, self.changed(2))
        assert np.array_equal(self.IMAGES, before)

    def test_without_zoom_and_jitter_it_is_one_of_the_views(self) -> None:
        found = set()
        for seed in range(4):
            for image, result in zip(
                self.IMAGES, self.changed(seed, zoom=0, stain_jitter=0), strict=True
            ):
                gaps = [
                    np.abs(dihedral(image, view).astype(int) - result).max() for view in range(8)
                ]
                assert min(gaps) <= 1
                found.add(int(np.argmin(gaps)))
        assert found == set(range(8))

    def test_size_is_given(self) -> None:
        rng = np.random.default_rng(1)
        changed = augment(self.IMAGES, rng, zoom=0.3, stain_jitter=0.2, size=9)
        assert changed.shape == (len(self.IMAGES), 9, 9, 3)

    def test_shrunk_as_by_the_layer_of_the_network(self) -> None:
        images, _ = four_classes(5)
        layer = layers.Resizing(12, 12, antialias=True)(images.astype(np.float32))
        gaps = np.abs(np.asarray(layer) - shrink(images, 12))
        assert gaps.max() <= 1
        assert np.array_equal(shrink(images, SIDE), images)

    def test_zoom_shows_a_part_only(self) -> None:
        # A frame of another colour is cropped away unless the factor is close to one.
        image = np.full((64, 32, 32, 3), 200, np.uint8)
        image[:, [0, -1]] = image[:, :, [0, -1]] = 0
        frames = [
            (augment(image, np.random.default_rng(1), zoom=zoom, stain_jitter=0) < 100).mean()
            for zoom in (0.0, 0.5)
        ]
        assert frames[1] < 0.6 * frames[0]

    def test_jitter_changes_stain_and_leaves_white(self) -> None:
        white = np.full((4, 8, 8, 3), 255, np.uint8)
        assert (augment(white, np.random.default_rng(1), zoom=0.3, stain_jitter=0.5) == 255).all()
        brown = np.broadcast_to(np.uint8([150, 100, 60]), (40, 8, 8, 3))
        changed = augment(brown, np.random.default_rng(1), zoom=0, stain_jitter=0.3)
        assert np.ptp(changed[:, 0, 0, 1].astype(int)) > 20
        assert (np.ptp(changed.astype(int), axis=(1, 2)) == 0).all()


SAVE = """
import os, sys
os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
from pathlib import Path
from tissue.common.runtime import set_up
from tests.training.test_training import PARAMS, scratch
from tissue.training.saving import save_model
set_up(seed=4, threads=PARAMS.threads)
save_model(scratch(), Path(sys.argv[1]))
"""


class TestSaving:
    def test_another_process_writes_the_same_bytes(self, tmp_path: Path) -> None:
        there, here = tmp_path / "there.keras", tmp_path / "here.keras"
        subprocess.run([sys.executable, "-c", SAVE, there], cwd=ROOT, check=True)
        keras.backend.clear_session()
        set_up(seed=4, threads=PARAMS.threads)
        model = scratch()
        save_model(model, here)
        assert there.read_bytes() == here.read_bytes()
        with zipfile.ZipFile(here) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert b"1980-01-01" in archive.read("metadata.json")
        images, _ = four_classes(3)
        loaded = load_model(there).predict_on_batch(images)
        assert np.array_equal(loaded, model.predict_on_batch(images))

    def test_trained_network_survives_saving(self, tmp_path: Path) -> None:
        images, labels = four_classes(16)
        model = scratch()
        batches = Batches(images, labels, classes=4, batch_size=8, seed=1)
        fit(model, batches, batches, lr=0.01, epochs=1, patience=1)
        save_model(model, tmp_path / "a.keras")
        loaded = load_model(tmp_path / "a.keras")
        assert np.array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))
        assert loaded.count_params() == model.count_params()

    @pytest.mark.usefixtures("tiny")
    def test_objects_that_are_shared_are_numbered_alike(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            keras.backend.clear_session()
            keras.utils.set_random_seed(1)
            backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
            model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
            save_model(model, tmp_path / f"{name}.keras")
        assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
        with zipfile.ZipFile(tmp_path / "one.keras") as archive:
            numbers = re.findall(rb'"shared_object_id": (\d+)', archive.read("config.json"))
        assert all(int(number) < 1000 for number in numbers)
        images, _ = four_classes(3)
        loaded = load_model(tmp_path / "one.keras").predict_on_batch(images)
        assert np.allclose(loaded, model.predict_on_batch(images), atol=1e-6)

    @pytest.mark.parametrize("content", [None, b"", b"no model"])
    def test_no_model(self, content: bytes | None, tmp_path: Path) -> None:
        path = tmp_path / "a.keras"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.keras: expected a model saved by Keras 3"):
            load_model(path)

    @pytest.mark.parametrize("damage", ["no config.json", "no weights", "cut off"])
    def test_damaged_model(self, damage: str, tmp_path: Path) -> None:
        save_model(small_head(8), tmp_path / "whole.keras")
        path = tmp_path / "a.keras"
        with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(path, "w") as made:
            for name in whole.namelist():
                if damage == "no weights" and name == "model.weights.h5":
                    made.writestr(name, b"no weights")
                elif damage != "no config.json" or name != "config.json":
                    made.writestr(name, whole.read(name))
        if damage == "cut off":
            path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match=r"a\.keras: expected a model") as said:
            load_model(path)
        assert "File not found" not in str(said.value)


class TestHeads:
    def test_model_is_the_head_on_the_features(self, backbone: keras.Model) -> None:
        images, _ = four_classes(6)
        head = small_head(backbone.output_shape[-1])
        joined = join_backbone(backbone, head, crops=0)
        assert joined.input_shape == (None, SIDE, SIDE, 3)
        probabilities = joined.predict_on_batch(images)
        expected = head.predict_on_batch(backbone.predict_on_batch(images))
        assert np.allclose(probabilities, expected, atol=1e-5)
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)

    def test_features_are_standardised(self) -> None:
        features = np.random.default_rng(2).normal(3, 2, (40, 8)).astype(np.float32)
        head = build_head(features, HEAD, classes=3, seed=1)
        scaled = np.asarray(head.get_layer("standardise")(features))
        assert np.allclose(scaled.mean(axis=0), 0, atol=1e-4)
        assert np.allclose(scaled.std(axis=0), 1, atol=1e-3)

    def test_what_hardly_varies_in_training_does_not_decide_alone(self) -> None:
        features = np.random.default_rng(2).normal(3, 2, (40, 8)).astype(np.float32)
        features[:, 7] = 0
        head = build_head(features, HEAD, classes=3, seed=1)
        features[:, 7] = 0.1
        scaled = np.asarray(head.get_layer("standardise")(features))
        assert np.abs(scaled).max() < 10

    @pytest.mark.usefixtures("tiny")
    def test_views_are_averaged(self) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        images, _ = four_classes(35)
        features = np.stack(
            [backbone.predict_on_batch(dihedral(images, view)) for view in range(3)], axis=1
        )
        head = small_head(features.shape[-1])
        from_features = predict_features(head, features)
        joined = join_backbone(backbone, head, crops=0)
        from_images = predict_batch(joined, images, None, views=3)
        each = [head.predict_on_batch(features[:, view]) for view in range(3)]
        assert from_features.shape == (35, 3, 4)
        assert np.allclose(from_features, np.stack(each, axis=1), atol=1e-6)
        assert np.allclose(from_features, from_images, atol=1e-5)

    @pytest.mark.usefixtures("tiny")
    @pytest.mark.parametrize("count", [4, 1000])
    def test_unfrozen_layers_learn_and_batch_normalisation_does_not(
        self, count: int, tmp_path: Path
    ) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
        assert not is_fine_tuned(model)
        unfreeze(model.get_layer("backbone"), count)
        assert is_fine_tuned(model)
        network = backbone.get_layer("mobilenet_v2_035")
        norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
        assert not any(layer.trainable for layer in norms)
        before = {layer.name: layer.get_weights() for layer in network.layers}
        images, labels = four_classes(8)
        batches = Batches(images, labels, classes=4, batch_size=4, seed=1)
        fit(model, batches, batches, lr=0.01, epochs=1, patience=1)
        changed = {
            layer.name
            for layer in network.layers
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
            if not np.array_equal(old, new)
        }
        assert changed
        assert not changed & {layer.name for layer in norms}
        assert changed <= {layer.name for layer in network.layers[-count:]}
        # Evaluating reads it off the file, since cached features are not those of this model.
        save_model(model, tmp_path / "a.keras")
        assert is_fine_tuned(load_model(tmp_path / "a.keras"))

    def test_fine_tuning_that_only_harms_changes_nothing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
        before = model.get_weights()
        images, labels = four_classes(8)
        part = Dataset(images, pd.DataFrame({"label": labels}))
        settings = HEAD.model_copy(
            update={"backbone": "mobilenet_v2_035", "fine_tune_epochs": 2, "fine_tune_layers": 9}
        )
        table = fine_tune(model, part, part, settings, seed=1, lr=1e4, batch_size=4)
        assert len(table) == 2
        assert model.optimizer is None, "it would be saved with the model"
        assert "the network stays as it was" in capsys.readouterr().out
        for old, new in zip(before, model.get_weights(), strict=True):
            assert np.array_equal(old, new)

    def test_crops_are_stained_as_their_image(self) -> None:
        rng = np.random.default_rng(0)
        whole = np.broadcast_to(rng.integers(90, 250, (5, 1, 1, 3), np.uint8), (5, 24, 24, 3))
        crops = np.broadcast_to(whole[:, None], (5, 3, 24, 24, 3))
        found = _change(0.5, 0.6)({"image": whole, "crops": crops}, rng)
        assert np.array_equal(np.broadcast_to(found["image"][:, None], crops.shape), found["crops"])
        assert (found["image"] != whole).any(axis=(1, 2, 3)).all()

    def test_fine_tuning_of_layers_without_weights_is_refused(self) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
        images, labels = four_classes(8)
        part = Dataset(images, pd.DataFrame({"label": labels}))
        settings = HEAD.model_copy(update={"fine_tune_epochs": 1, "fine_tune_layers": 2})
        with pytest.raises(InputError, match=r"fine_tune_layers: expected .* Received: 2,"):
            fine_tune(model, part, part, settings, seed=1, lr=0.001, batch_size=4)

    @pytest.mark.parametrize(
        ("key", "strides"),
        [("mobilenet_v2_035", (32,)), ("mobilenet_v2_035", (8, 16)), ("convnext_tiny", (16,))],
    )
    def test_a_backbone_cut_below_what_is_trained_is_the_same(
        self, key: str, strides: tuple[int, ...]
    ) -> None:
        backbone = build_backbone(key, image_size=64, weights="random", strides=strides)
        unfreeze(backbone, 60)
        lower, upper = cut_below_trained(backbone)
        assert not lower.trainable_weights
        trained = [weights.path for weights in backbone.trainable_weights]
        assert [weights.path for weights in upper.trainable_weights] == trained
        images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
        assert len(lower.output_shape) == 4
        assert lower.output_shape[1] < 64
        assert np.allclose(upper(lower(images)), backbone(images), atol=1e-5)

    def test_with_copies_the_model_of_images_is_trained_above_the_cut(self) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="embedded")
        model = join_backbone(backbone, small_head(2 * backbone.output_shape[-1]), crops=2)
        images, labels = four_classes(8)
        crops = np.stack([images, images[:, ::-1]], axis=1)
        part = Dataset(images, pd.DataFrame({"label": labels}), crops)
        change = {"fine_tune_epochs": 6, "fine_tune_layers": 60, "fine_tune_copies": 3}
        settings = HEAD.model_copy(update=change)
        network = backbone.get_layer("mobilenet_v2_035").layers
        before = [layer.get_weights() for layer in network]
        table = fine_tune(model, part, part, settings, seed=1, lr=0.003, batch_size=4)
        # What was trained is in the model that takes images.
        loss = validation_loss(model, Batches(Scales(part), labels, classes=4, batch_size=4))
        assert loss == pytest.approx(table["val_loss"].iloc[-1], rel=0.01)
        changed = [
            any(not np.array_equal(*pair) for pair in zip(old, layer.get_weights(), strict=True))
            for old, layer in zip(before, network, strict=True)
        ]
        assert any(changed[-60:])
        assert not any(changed[:-60])

    def test_each_row_gets_one_of_its_own_copies(self) -> None:
        copies = [{"image": (10 * copy + np.arange(5)).astype(np.float16)} for copy in range(3)]
        rng = np.random.default_rng(0)
        drawn = [pick_copy(copies)(np.array([1, 4]), rng)["image"] for _ in range(50)]
        assert {tuple(rows) for rows in np.stack(drawn).tolist()} == {
            (one, four) for one in (1, 11, 21) for four in (4, 14, 24)
        }

    def test_copies_for_a_backbone_that_is_trained_as_a_whole_are_refused(self) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        unfreeze(backbone, 1000)
        with pytest.raises(InputError, match=r"fine_tune_copies: expected 0 where no layer below"):
            cut_below_trained(backbone)

    @pytest.mark.usefixtures("tiny")
    def test_frozen_model_is_known_as_such_after_loading(self, tmp_path: Path) -> None:
        backbone = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        model = join_backbone(backbone, small_head(backbone.output_shape[-1]), crops=0)
        save_model(model, tmp_path / "a.keras")
        assert not is_fine_tuned(load_model(tmp_path / "a.keras"))


def saved_weights(key: str, path: Path) -> Path:
    network = build_backbone(key, image_size=SIDE, weights="random").get_layer(key)
    network.save_weights(path)
    return path


SHARED_WEIGHTS = {
    "mobilenet_v2_035": "mobilenet_v2_0.35_224_no_top.weights.h5",
    "mobilenet_v2": "mobilenet_v2_1.0_224_no_top.weights.h5",
}


class TestBackbones:
    def test_frozen_and_fed_with_0_to_255(self, backbone: keras.Model) -> None:
        assert backbone.trainable_weights == []
        assert backbone.output_shape == (None, 1280)
        assert np.allclose(backbone.get_layer("scale")(np.float32([0, 255])), [-1, 1])

    def test_batch_normalisation_is_frozen_in_training_too(self, backbone: keras.Model) -> None:
        images, _ = four_classes(4)
        resting, training = backbone(images), backbone(images, training=True)
        assert np.array_equal(np.asarray(resting), np.asarray(training))

    @pytest.mark.usefixtures("tiny")
    def test_weights_of_a_file(self, tmp_path: Path) -> None:
        path = saved_weights("mobilenet_v2_035", tmp_path / "a.weights.h5")
        one = build_backbone("mobilenet_v2_035", image_size=SIDE, weights=str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        two = build_backbone("mobilenet_v2_035", image_size=SIDE, weights=str(path), sha256=digest)
        other = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="random")
        assert values_digest(one) == values_digest(two) != values_digest(other)

    @pytest.mark.usefixtures("tiny")
    def test_missing_file(self, tmp_path: Path) -> None:
        path = tmp_path / "gone.weights.h5"
        with pytest.raises(
            InputError, match=r"pretrained\.weights: .*gone\.weights\.h5, which does"
        ):
            build_backbone("mobilenet_v2_035", image_size=SIDE, weights=str(path))

    @pytest.mark.usefixtures("tiny")
    @pytest.mark.filterwarnings("ignore:Skipping nested container")
    def test_weights_of_another_width(self, tmp_path: Path) -> None:
        path = saved_weights("mobilenet_v2_035", tmp_path / "a.weights.h5")
        with pytest.raises(InputError, match="expected weights of mobilenet_v2 without its top"):
            build_backbone("mobilenet_v2", image_size=SIDE, weights=str(path))

    @pytest.mark.usefixtures("tiny")
    @pytest.mark.parametrize("content", [b"", b"no weights"])
    def test_file_that_holds_no_weights(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "a.weights.h5"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.weights\.h5: expected weights of"):
            build_backbone("mobilenet_v2_035", image_size=SIDE, weights=str(path))

    @pytest.mark.usefixtures("tiny")
    def test_wrong_digest(self, tmp_path: Path) -> None:
        path = tmp_path / "a.weights.h5"
        path.write_bytes(b"other")
        with pytest.raises(InputError, match=r"expected sha256 000.*pretrained\.sha256.*Received"):
            build_backbone("mobilenet_v2_035", image_size=SIDE, weights=str(path), sha256="0" * 64)

    @pytest.mark.usefixtures("tiny")
    def test_imagenet_without_a_network(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> str:
            raise Exception("URL fetch failure: Name or service not known")

        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr(keras.utils, "get_file", fail)
        message = r"expected to download https.*not known.*Without a network.*KERAS_HOME.*embedded"
        with pytest.raises(InputError, match=message):
            build_backbone("mobilenet_v2_035", image_size=SIDE, weights="imagenet")

    def download(self, path: Path) -> Callable[..., str]:
        return lambda *args, **kwargs: str(path)

    @pytest.mark.usefixtures("tiny")
    def test_download_of_other_values_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = saved_weights("mobilenet_v2_035", tmp_path / "a.weights.h5")
        monkeypatch.setattr(keras.utils, "get_file", self.download(path))
        with pytest.raises(InputError, match=r"expected the ImageNet weights .*Received: others"):
            build_backbone("mobilenet_v2_035", image_size=SIDE, weights="imagenet")

    @pytest.mark.usefixtures("tiny")
    def test_download_of_unknown_digest_needs_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = saved_weights("mobilenet_v2_050", tmp_path / "a.weights.h5")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(keras.utils, "get_file", self.download(path))
        with pytest.raises(InputError, match=rf"pretrained\.sha256: expected .*{digest}"):
            build_backbone("mobilenet_v2_050", image_size=SIDE, weights="imagenet")
        build_backbone("mobilenet_v2_050", image_size=SIDE, weights="imagenet", sha256=digest)

    @pytest.mark.parametrize("key", SHARED_WEIGHTS)
    def test_values_of_imagenet_are_known(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path = ROOT.parent / "shared" / "weights" / SHARED_WEIGHTS[key]
        if not path.is_file():
            pytest.skip("no shared weights here")
        monkeypatch.setattr(keras.utils, "get_file", self.download(path))
        network = build_backbone(key, image_size=SIDE, weights="imagenet")
        expected = backbones.BACKBONES[key].values_sha256
        assert values_digest(network) == expected

    @pytest.mark.skipif(
        not (ROOT / backbones.EMBEDDED_WEIGHTS).is_file(), reason="no embedded weights yet"
    )
    def test_embedded_weights_fit_and_are_small(self) -> None:
        network = build_backbone("mobilenet_v2_035", image_size=SIDE, weights="embedded")
        assert np.isfinite(network.predict_on_batch(four_classes(2)[0])).all()
        assert (ROOT / backbones.EMBEDDED_WEIGHTS).stat().st_size < 6e6


class MeanColours:
    """In place of a network: features that show how an image is stained, and not how it lies."""

    output_shape = (None, 3)

    def predict_on_batch(self, images: Images) -> NDArray[np.float32]:
        return images.mean(axis=(1, 2), dtype=np.float32)


class TestStainings:
    RNG = np.random.default_rng(3)
    IMAGES = RNG.integers(60, 240, (5, 16, 16, 3), np.uint8)
    CROPS = np.repeat(IMAGES[:, None], 2, axis=1)

    def stained(self, rows: slice = slice(None), **changes: float) -> NDArray[np.float32]:
        settings = {"stainings": 2, "jitter": 0.6, "seed": 1} | changes
        pairs = augment_stains(self.IMAGES[rows], self.CROPS[rows], **settings)
        features = [embed_batch(MeanColours(), *pair, views=2) for pair in pairs]
        return np.concatenate(features, axis=1)

    def test_each_staining_is_another_and_crops_are_stained_as_their_image(self) -> None:
        features = self.stained()
        assert features.shape == (5, 4, 6)
        assert np.allclose(features[..., :3], features[..., 3:], atol=1e-3)
        one, two = features[:, :2], features[:, 2:]
        assert np.allclose(one[:, 0], one[:, 1], atol=1e-3)
        assert (np.abs(one - two).max(axis=(1, 2)) > 2).all()
        plain = embed_batch(MeanColours(), self.IMAGES, self.CROPS, views=1)
        changed = np.abs(features - plain)[..., :3].max(axis=2)
        assert (changed > 1).mean() > 0.8

    def test_depends_on_the_image_and_the_seed_alone(self) -> None:
        assert np.array_equal(self.stained(slice(3, 5)), self.stained()[3:5])
        assert not np.allclose(self.stained(seed=2), self.stained())

    def test_nothing_changes_without_jitter(self) -> None:
        plain = embed_batch(MeanColours(), self.IMAGES, self.CROPS, views=1)
        assert np.abs(self.stained(jitter=0) - plain).max() < 1

    @pytest.mark.parametrize(("views", "stainings", "each"), [(8, 2, 2), (8, 3, 1), (1, 2, 1)])
    def test_stainings_share_half_the_views(self, views: int, stainings: int, each: int) -> None:
        assert views_per_staining(views, stainings) == each


class OneColour:
    """In place of a network: the colour of one pixel, another one in each view."""

    output_shape = (None, 3)

    def predict_on_batch(self, images: Images) -> NDArray[np.float32]:
        return images[:, 0, 1].astype(np.float32)


class TestPieces:
    """What `embed` writes of some rows, prepared in a thread, is what it is one by one."""

    RNG = np.random.default_rng(5)
    IMAGES = RNG.integers(60, 240, (75, 8, 8, 3), np.uint8)
    CROPS = RNG.integers(60, 240, (75, 2, 8, 8, 3), np.uint8)

    @pytest.mark.parametrize("crops", [True, False])
    @pytest.mark.parametrize("stained", [True, False])
    def test_rows_views_and_stainings_keep_their_places(
        self, stained: bool, crops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at = {}
        for name, array in {"train.npy": self.IMAGES, "train_crops.npy": self.CROPS}.items():
            np.save(tmp_path / name, array)
            at[name] = str(tmp_path / name)
        monkeypatch.setattr(embedders, "_network", lambda described: OneColour())
        embedders.embed_chunk(
            tmp_path / "out.npy", Files(at, {}),
            images="train.npy", crops="train_crops.npy" if crops else None,
            start=5, count=70, stained=stained,
            network={"views": 4, "stainings": 2, "stain_jitter": 0.6, "seed": 1},
        )  # fmt: skip
        found = np.load(tmp_path / "out.npy")
        for row in range(5, 75):
            pairs = [(self.IMAGES[[row]], self.CROPS[[row]] if crops else None)]
            if stained:
                pairs = list(augment_stains(*pairs[0], stainings=2, jitter=0.6, seed=1))
            views = 1 if stained else 4
            expected = [embed_batch(OneColour(), *pair, views=views) for pair in pairs]
            assert np.array_equal(found[row - 5], np.concatenate(expected, axis=1)[0])

    def test_what_fails_beside_the_network_is_told(self) -> None:
        def items() -> Iterator[int]:
            yield 1
            raise OSError("gone")

        made = embedders.prefetch(items())
        assert next(made) == 1
        with pytest.raises(OSError, match="gone"):
            next(made)


class TestOrderOfRows:
    """The order of rows in a file carries no meaning, ids do."""

    CLASSES = ("blue", "dark", "red", "white")

    def write_split(self, folder: Path, order: np.random.Generator | None) -> None:
        folder.mkdir(parents=True)
        write_json(list(self.CLASSES), folder / "classes.json")
        names = np.array(["dark", "red", "blue", "white"])
        for seed, (part, n) in enumerate({"train": 24, "val": 8, "test": 12}.items()):
            images, labels = four_classes(n, seed)
            index = pd.DataFrame(
                {
                    "id": [f"{part}/{row}.png" for row in range(n)],
                    "class": names[labels],
                    "label": [self.CLASSES.index(name) for name in names[labels]],
                    "group": [f"{part}{row // 4}" for row in range(n)],
                    "source": "drawn",
                    **dict.fromkeys(("tissue_fraction", "blur", "haematoxylin", "dab"), 0.5),
                }
            )
            rows = np.arange(n) if order is None else order.permutation(n)
            np.save(folder / f"{part}.npy", images[rows])
            write_table(index.iloc[rows], folder / f"{part}.csv")

    def shuffle_embed(self, folder: Path, order: np.random.Generator) -> None:
        for part in ("train", "train_stained", "val", "test"):
            features, ids = np.load(folder / f"{part}.npy"), pd.read_csv(folder / f"{part}.csv")
            rows = order.permutation(len(ids))
            np.save(folder / f"{part}.npy", features[rows])
            write_table(ids.iloc[rows], folder / f"{part}.csv")

    def embed(self, at: Path, weights: Path) -> None:
        embed.run_with(
            self.settings(weights), seed=1, threads=PARAMS.threads,
            split=at / "split", out=at / "embed",
        )  # fmt: skip

    def settings(self, weights: Path) -> Pretrained:
        return PARAMS.pretrained.model_copy(
            update={"weights": str(weights), "views": 2, "epochs": 12}
        )

    def train(self, at: Path, weights: Path) -> None:
        train_pretrained.run(
            self.settings(weights), seed=1, lr=0.05, batch_size=8, threads=PARAMS.threads,
            split=at / "split", embed=at / "embed",
            model=at / "models/pretrained.keras", history=at / "history.csv", live=at / "live",
        )  # fmt: skip

    def predictions(self, at: Path, models: Path) -> pd.DataFrame:
        (at / "metrics").mkdir()
        shutil.copy(ROOT / "metrics/split.json", at / "metrics")
        evaluate.run(
            PARAMS.evaluate.model_copy(update={"bootstrap": 100}),
            seed=1, threads=PARAMS.threads, scratch_views=2, lr=0.05,
            pretrained=PARAMS.pretrained, split=at / "split", embed=at / "embed", models=models,
            out=at / "predictions",
            metrics=at / "metrics", plots=at / "plots",
        )  # fmt: skip
        tables = [pd.read_csv(at / f"predictions/{name}.csv") for name in evaluate.MODELS]
        return pd.concat(tables, keys=evaluate.MODELS).reset_index(level=0, names="model")

    @pytest.mark.usefixtures("tiny")
    def test_shuffled_rows_give_the_same_predictions(self, tmp_path: Path) -> None:
        weights = saved_weights("mobilenet_v2_035", tmp_path / "a.weights.h5")
        plain, embedded, both = (tmp_path / name for name in ("plain", "embedded", "both"))
        rng = np.random.default_rng(8)
        self.write_split(plain / "split", None)
        self.write_split(embedded / "split", None)
        self.write_split(both / "split", rng)
        for at in (plain, embedded, both):
            self.embed(at, weights)
        self.shuffle_embed(embedded / "embed", rng)
        self.shuffle_embed(both / "embed", rng)
        for at in (plain, embedded):
            self.train(at, weights)
        # Features are looked up by id, so training sees the same rows in the same order.
        models = plain / "models"
        trained = [load_model(at / "models/pretrained.keras") for at in (plain, embedded)]
        assert values_digest(trained[0]) == values_digest(trained[1])
        save_model(scratch(), models / "scratch.keras")
        first, second, third = (
            self.predictions(at, models).sort_values(["model", "id"], ignore_index=True)
            for at in (plain, embedded, both)
        )
        pd.testing.assert_frame_equal(first, second)
        pd.testing.assert_frame_equal(first, third, atol=1e-4)
        of_head = first[first["model"] == "pretrained"]
        assert (of_head["class"] == of_head["predicted"]).mean() > 0.9
        assert list(first.columns[-4:]) == [f"p_{name}" for name in self.CLASSES]
