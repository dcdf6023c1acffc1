"""The benchmarks on images of a few pixels: that they run, and their results on known input."""

import re
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from benchmarks import (
    ablation,
    accuracy,
    baselines,
    calibration,
    causes,
    ceiling,
    embed,
    features,
    finetune,
    gradcam,
    novelty,
    novelty_scores,
    scale,
)
from benchmarks.foreign_organs import CORES, ORGANS, draw_foreign
from tests.conftest import update_params
from tests.networks import SIDE, dataset, mobilenet, write_split
from tests.pipeline import ROOT
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.error_analysis.gradcam import Views
from tissue.phantom.core import ARCHITECTURES

TINY = {
    "seed": 1,
    "batch_size": 8,
    "scratch": {
        "input_size": 16,
        "width": 4,
        "blocks": 1,
        "epochs": 2,
        "epoch_images": 0,
        "views": 1,
    },
    "pretrained": {"views": 1, "stainings": 2},
    "evaluate": {"bootstrap": 100},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_split(tmp_path / "split")
    return tmp_path / "split"


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    update_params(path, TINY)
    return path


@pytest.fixture
def params(params_file: Path) -> Params:
    return load_params(params_file)


class TestAccuracy:
    def test_one_row_per_model_and_ours_against_the_others(
        self, data: Path, params: Params
    ) -> None:
        methods = ["ours", "original_scratch", "linear_probe", "histogram_svm"]
        table, right = accuracy.measure(data, methods, params=params, seeds=[1], weights="packaged")
        assert list(table["method"]) == ["ours_scratch", "ours_pretrained", *methods[1:]]
        assert all(array.shape == (1, 12) for array in right.values())
        assert (table["n"] == 12).all()
        assert (table["low"] <= table["accuracy"]).all()
        assert (table["accuracy"] <= table["high"]).all()
        # Four colours are easy for a histogram of colours.
        assert right["histogram_svm"].all()
        pairs = accuracy.against(right, dataset(12).index["group"])
        assert len(pairs) == 6

    def test_paired_test_counts_images_that_only_one_gets_right(self) -> None:
        right = {
            "ours_scratch": np.array([[1, 1, 1, 1, 0, 1]] * 3, bool),
            "other": np.array([[1, 0, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0]], bool),
        }
        (row,) = accuracy.against(right, pd.Series(list("aabbcc"))).itertuples()
        assert (row.only_ours, row.only_other) == (4, 1)
        assert row.difference == pytest.approx(100 * (15 - 8) / 18)
        assert row.mcnemar == pytest.approx(0.375)
        # Two donors gain and one is even: two of four sign flips are as extreme.
        assert row.p_value == pytest.approx(0.5)

    def test_several_values_of_a_parameter_are_refused(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert accuracy.parse(["--set", "lr=1e-4"]).set == {"lr": "1e-4"}
        with pytest.raises(SystemExit):
            accuracy.parse(["--set", "lr=1,2"])
        assert "expected one value per key. Received: lr=1,2" in capsys.readouterr().err

    @pytest.mark.usefixtures("small_mobilenet")
    def test_the_guide_trains_the_backbone_in_its_second_phase(self) -> None:
        backbone, train = mobilenet(), dataset(8)
        before = backbone.get_weights()
        epochs = {"epochs": 1, "fine_tune_epochs": 1}
        baselines.guide(train, np.asarray(train.images), network=lambda: backbone, seed=1, **epochs)
        kernels = [old.ndim > 1 for old in before]
        changed = [
            (old != new).any() for old, new in zip(before, backbone.get_weights(), strict=True)
        ]
        assert any(kernels)
        assert all(change for change, kernel in zip(changed, kernels, strict=True) if kernel)

    def test_histograms_sum_to_one_and_distinguish_colours(self) -> None:
        images, index, _ = dataset(8)
        rows = baselines.histograms(images) ** 2
        assert rows.shape == (8, 512)
        assert np.allclose(rows.sum(axis=1), 1)
        assert rows.argmax(axis=1).tolist()[:4] == rows.argmax(axis=1).tolist()[4:]
        assert len(set(rows.argmax(axis=1))) == index["label"].nunique()


class TestAblation:
    def test_every_change_is_valid_and_changes_a_parameter(self) -> None:
        params = load_params(ROOT / "params.yaml")
        for name, change in ablation.CHANGES.items():
            values = ablation.changed(params, change)
            assert (values == params) == (name == "default"), name

    def test_folds_keep_groups_together(self, data: Path, params: Params) -> None:
        pooled = ablation.pool(data, groups="given")
        default = ablation.train_in_folds(pooled, params, folds=[0, 1], of=2, seeds=1)
        assert sorted(default["id"]) == sorted(pooled.index["id"])
        assert (default.groupby("group")["run"].nunique() == 1).all()
        row = ablation.summarise("default", default, default)
        assert row[0] == "default"
        assert row[1] == pytest.approx(default["right"].mean())
        assert row[4:7] == (0, 0, 0)

    def test_command_prints_one_row_per_change(
        self,
        data: Path,
        params_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(params_file.parent)
        options = ["--only", "default", "no dropout", "--folds", "0", "--of", "2"]
        monkeypatch.setattr(sys, "argv", ["ablation", "--data", str(data), *options])
        ablation.main()
        heading, *rows = capsys.readouterr().out.splitlines()
        assert heading.split() == ablation.COLUMNS.split()
        assert [row[:24].strip() for row in rows] == ["default", "no dropout"]
        assert all(len(row[24:].split()) == 8 for row in rows)

    def test_images_of_a_class_with_like_colours_are_a_group(self, data: Path) -> None:
        pooled = ablation.pool(data, groups="colour")
        for group, rows in pooled.index.groupby("group"):
            assert rows["label"].nunique() == 1, group


class TestCalibration:
    def test_chance_is_that_of_as_many_images(self) -> None:
        sure = pd.DataFrame({"class": ["a"] * 400, "confidence": 1.0})
        assert (calibration.chance(sure, draws=10) == 0).all()
        errors = calibration.chance(sure.assign(confidence=0.5), draws=200)
        # With one bin: the mean absolute value of a normal distribution.
        assert errors.mean() == pytest.approx(0.5 / 20 * np.sqrt(2 / np.pi), rel=0.1)


class TestEmbed:
    def test_the_stage_is_compared_with_the_bare_forward_pass(
        self, params_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        update_params(params_file, {"image_size": SIDE, "split": {"crops": {"count": 1}}})
        shares = embed.compare(80, 1, tmp_path, load_params(params_file))
        assert len(shares) == 1
        assert shares[0] > 0
        # 80 images in one view and one crop, and 16 of them in two stainings of both.
        assert "224 forward passes of efficientnet_lite0" in capsys.readouterr().out
        assert np.load(tmp_path / "data/embed/train.npy").shape == (16, 1, 2 * 672)


class TestScale:
    def test_textures_are_fetched_and_memory_is_measured(self, tmp_path: Path) -> None:
        scale.prepare(tmp_path, 36)
        spent = scale.spend(tmp_path, "-m", "stages.fetch")
        rows = (tmp_path / "data/raw/manifest.csv").read_text().splitlines()[1:]
        assert len(rows) == 36
        assert spent.memory > 1
        assert spent.processor > 0

    def test_what_fails_is_not_measured(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match=r"ended with 1:\n(.|\n)*ZeroDivisionError"):
            scale.spend(tmp_path, "-c", "1 / 0")


class TestGradcam:
    def test_only_the_places_that_are_chosen_are_filled(self) -> None:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 200, (2, 56, 56, 3), dtype=np.uint8)
        images[:, :, 28:] = 240  # no tissue
        large = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
        tiles = large.reshape(2, 2, 56, 2, 56, 3).swapaxes(2, 3).reshape(2, 4, 56, 56, 3)
        tissue = gradcam.tissue_cells(images)
        assert tissue[:, :, :14].all()
        assert not tissue[:, :, 14:].any()
        warmth = np.zeros((2, 28, 28))
        warmth[:, :5] = 1
        cells = gradcam.choose_cells(warmth, tissue)
        assert cells.sum() == 2 * round(0.2 * 28 * 14)
        assert not cells[:, 6:].any()
        filled = gradcam.occlude(gradcam.Seen(images, tiles), cells, 2)
        pixels = np.kron(cells, np.ones((2, 2), bool))
        assert (filled.images[pixels] == 240).all()
        assert np.array_equal(filled.images[~pixels], images[~pixels])
        assert filled.crops is not None
        whole = filled.crops.reshape(2, 2, 2, 56, 56, 3).swapaxes(2, 3).reshape(2, 112, 112, 3)
        assert np.array_equal(whole[:, ::2, ::2], filled.images)

    def test_hot_places_matter_more_than_cold_ones(self) -> None:
        # Class 1 for each red pixel, class 0 for each blue one; the empty slide is neither.
        images = keras.Input((28, 28, 3))
        maps = keras.layers.Conv2D(2, 1, activation="relu")(images)
        pooled = keras.layers.GlobalAveragePooling2D()(maps)
        network = keras.Model(
            images, keras.layers.Dense(2, activation="softmax")(pooled), name="scratch"
        )
        first = np.array([[-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])[None, None] / 255
        network.set_weights([first, np.zeros(2), 6 * np.eye(2), np.array([0.0, 0.1])])
        red = np.random.default_rng(0).random((3, 28, 28)) < 0.5
        seen = np.where(red[..., None], (200, 0, 0), (0, 0, 200)).astype(np.uint8)
        seen[:, :, 24:] = 250
        found = gradcam.falls(network, gradcam.Seen(seen, None), views=Views(8, 2), seed=1)
        assert (found["hot"] > found["cold"]).all()


def test_ceiling_of_the_phantom() -> None:
    params = load_params(ROOT / "params.yaml")
    table = ceiling.latent_table(params)
    assert len(table) == 12 * params.fetch.phantom.test_per_class
    assert table["latent"].notna().sum() == 6 * params.fetch.phantom.test_per_class
    rows = {row[0]: row[1:] for row in ceiling.pair_rows(table)}
    assert rows["all"] == ["360", "91.6%", "30.3", "34"]
    perfect = {"net": table.assign(predicted=table["class"])}
    assert ceiling.error_rows(table, perfect) == [
        ["net", "0", "0", "0", "none", "0% of 34", "0% of 146"]
    ]
    skins = table["class"].isin(["skin_1", "skin_2"])
    blind = {"net": table.assign(predicted=table["class"].mask(skins, "skin_1"))}
    (row,) = ceiling.error_rows(table, blind)
    assert row[1:3] == ["30", "30"]
    (right,) = ceiling.right_rows(table, blind)
    assert right[1].startswith("100% (")
    assert right[3].startswith("50% (")


def test_planted_causes_of_several_drawings_are_counted() -> None:
    rows = {
        "model": "net",
        "planted": ["blur", "blur", ""],
        "cause": ["blur", "none_found", "blur"],
    }
    drawing = pd.DataFrame(rows)
    table = causes.named_table(pd.concat([drawing, drawing]))
    assert table.to_numpy().tolist() == [["net", "blur", 4, 2, 0.5]]


class TestFeatures:
    def test_one_row_per_setting(
        self, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(features, "STRIDES", (16,))
        one, two = "efficientnet_lite0", "efficientnet_lite1"
        networks = [f"{one}:packaged", f"{one}+{two}:packaged"]
        features.main(["--data", str(data), "--folds", "2", "--networks", *networks])
        *rows, _, last = capsys.readouterr().out.splitlines()[2:]
        # In 1, 2 and 4 views; these images have no crops.
        assert [row.split(" | ")[0] for row in rows] == 3 * [f"| {one}"] + 3 * [f"| {one} + {two}"]
        options = re.findall(r"-S '(.+?)=(.+?)'", last)
        changed = load_params(ROOT / "params.yaml", dict(options))
        assert changed.pretrained.strides == [16]
        assert changed.split.crops.count == 0
        # Four colours are easy.
        assert all(float(row.split(" | ")[4]) > 0.9 for row in rows)

    def test_images_of_a_group_are_in_one_fold(self) -> None:
        """Features that name the group are of no use for images of other groups."""
        groups = pd.Series(np.repeat(list("abcdefgh"), 6))
        labels = np.repeat([0, 1] * 4, 6)
        one_hot = pd.get_dummies(groups).to_numpy(np.float32)[:, None]
        right, loss = features.fit_best_penalty(one_hot, labels, groups, folds=4, seed=0)
        assert right.mean() < 0.7
        assert loss > 0.5
        known, _ = features.fit_best_penalty(one_hot, labels, pd.Series(range(48)), folds=4, seed=0)
        assert known.all()


class TestFinetune:
    def test_recipes_are_compared_with_the_frozen_model_and_a_run_is_continued(
        self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(finetune, "FOLDS", 2)
        monkeypatch.setattr(finetune, "STEPS", 4)
        for name in ("train", "val", "test"):
            images = np.load(data / f"{name}.npy")
            np.save(data / f"{name}_crops.npy", np.repeat(images[:, None], 4, axis=1))
        recipe = "biases of two blocks, rate 0.001"
        where = ["--data", str(data), "--cache", str(tmp_path / "cache"), "--whole"]
        finetune.main([*where, "--only", recipe])
        answers = pd.read_csv(tmp_path / "cache/answers.csv")
        methods = ["frozen", *(recipe + way for way in ("", ", head solved", ", mean"))]
        assert list(answers["method"].unique()) == methods
        printed = capsys.readouterr().out
        monkeypatch.setattr(finetune, "run_fold", None)  # nothing is left to be run
        finetune.main([*where, "--only", recipe])
        assert capsys.readouterr().out == printed
        # Each image is asked once, in the fold without its group.
        assert (answers.groupby("method")["id"].nunique() == 44).all()
        assert (answers.groupby("group")["fold"].nunique() == 1).all()
        # Other weights give other losses; four colours are easy for all.
        losses = answers.groupby("method")["loss"].mean()
        assert losses.nunique() == len(methods)
        assert (answers.groupby("method")["right"].mean() > 0.9).all()


class TestNovelty:
    def images(self, seed: int, *, first: int, count: int = 120) -> novelty.Images:
        """Features of four classes, from number `first` on, in three views."""
        centres = np.random.default_rng(0).gamma(3, 1, (8, 80))
        rng, labels = np.random.default_rng(seed), np.arange(count) % 4
        points = centres[first + labels][:, None] + rng.normal(0, 0.4, (count, 1, 80))
        features = np.abs(points + rng.normal(0, 0.05, (count, 3, 80))).astype(np.float32)
        return novelty.Images(features, labels, pd.Series(np.arange(count) // 4).astype(str))

    def test_all_scores_tell_foreign_classes_and_the_curves_are_written(
        self, tmp_path: Path
    ) -> None:
        known, foreign = self.images(1, first=0), self.images(2, first=4, count=40)
        scored = novelty.cross_validate(known, foreign.features, seed=1)
        assert novelty.OURS in scored
        assert len(scored) > len(novelty_scores.fit_scores(known.features, known.labels))
        for name, one in scored.items():
            assert np.isfinite(one.known).all()
            area, _ = novelty.measure(one, known.groups, foreign.groups)
            assert float(area[:5]) > 0.6 or name == "views disagree", name
        assert (scored[novelty.OURS].known > 1).mean() < 0.15
        novelty.save_curves(scored, tmp_path / "roc.png")
        curves = pd.read_csv(tmp_path / "roc.csv")
        assert set(curves["score"]) == set(scored)
        assert curves.groupby("score")["foreign"].is_monotonic_increasing.all()
        assert (tmp_path / "roc.png").exists()

    def test_area_and_share_of_known_scores(self) -> None:
        groups = pd.Series(range(100)).astype(str)
        scored = novelty.Scored(np.arange(100.0), np.full((5, 100), 89.5))
        area, share = novelty.measure(scored, groups, groups)
        assert area.startswith("0.900 (")
        assert share.startswith("0% (0% to")
        beyond = scored._replace(foreign=np.full((5, 100), 200.0))
        assert novelty.measure(beyond, groups, groups)[0].startswith("1.000 (1.000 to 1.000")

    def test_foreign_organs_are_of_no_class_and_drawn_alike_twice(self) -> None:
        before = set(ARCHITECTURES)
        one, two = (list(draw_foreign(96, seed=3, donors=1)) for _ in range(2))
        assert one == two
        assert [core.class_name for core, _ in one] == [o for o in ORGANS for _ in range(CORES)]
        assert not before & set(ORGANS)
        assert set(ARCHITECTURES) == before
        assert len({image for _, image in one}) == len(one)
