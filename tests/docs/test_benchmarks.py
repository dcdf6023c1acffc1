"""The benchmarks on images of a few pixels: that they run, and what they make of known answers."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

from benchmarks import ablation, accuracy, baselines, calibration, embed, scale
from tests.conftest import update_params
from tests.pipeline import ROOT
from tissue.common.files import write_json, write_table
from tissue.config.loading import load_params
from tissue.data.index import Dataset

SIDE = 32
CLASSES = ["blue", "dark", "red", "white"]
GROUNDS = np.array([[60, 60, 200], [40, 40, 40], [200, 60, 60], [230, 230, 230]])
TINY = {
    "seed": 1,
    "batch_size": 8,
    "scratch": {"input_size": 16, "width": 4, "blocks": 1, "epochs": 2, "views": 1},
    "pretrained": {"views": 1, "epochs": 2},
    "evaluate": {"bootstrap": 100},
}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def part(count: int, seed: int) -> Dataset:
    """Noise on grounds of four colours, four images a donor."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = GROUNDS[labels][:, None, None] + rng.normal(0, 20, (count, SIDE, SIDE, 3))
    index = pd.DataFrame(
        {
            "id": [f"{seed}/{row}.png" for row in range(count)],
            "class": np.array(CLASSES)[labels],
            "label": labels,
            "group": [f"{seed}/{row // 4}" for row in range(count)],
        }
    )
    return Dataset(np.clip(images, 0, 255).astype(np.uint8), index)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "split"
    folder.mkdir()
    write_json(CLASSES, folder / "classes.json")
    for seed, (name, count) in enumerate({"train": 24, "val": 16, "test": 12}.items()):
        images, index, _ = part(count, seed)
        np.save(folder / f"{name}.npy", images)
        write_table(index, folder / f"{name}.csv")
    return folder


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    update_params(path, TINY)
    return path


class TestAccuracy:
    def test_a_row_a_model_and_ours_against_the_others(
        self, data: Path, params: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        methods = ["ours", "original_scratch", "linear_probe", "histogram_svm"]
        values = load_params(params)
        table, right = accuracy.measure(data, methods, params=values, seeds=[1], weights="embedded")
        assert list(table["method"]) == [
            "ours_scratch",
            "ours_pretrained",
            "original_scratch",
            "linear_probe",
            "histogram_svm",
        ]
        assert all(array.shape == (1, 12) for array in right.values())
        assert (table["n"] == 12).all()
        assert (table["low"] <= table["accuracy"]).all()
        assert (table["accuracy"] <= table["high"]).all()
        # Four colours are no task for a histogram of colours.
        assert right["histogram_svm"].all()
        pairs = accuracy.against(right, part(12, 2).index["group"])
        assert len(pairs) == 6

    def test_paired_test_counts_images_that_only_one_gets_right(self) -> None:
        right = {
            "ours_scratch": np.array([[1, 1, 1, 1, 0, 1]] * 3, bool),
            "other": np.array([[1, 0, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0]], bool),
        }
        (row,) = accuracy.against(right, pd.Series(list("aabbcc"))).itertuples()
        assert (row.only_ours, row.only_other) == (4, 1)
        assert row.difference == pytest.approx(100 * (15 - 8) / 18)
        assert row.p_value == pytest.approx(0.375)

    def test_several_values_of_a_parameter_are_refused(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert accuracy.parse(["--set", "lr=1e-4"]).set == {"lr": "1e-4"}
        with pytest.raises(SystemExit):
            accuracy.parse(["--set", "lr=1,2"])
        assert "expected one value a key. Received: lr=1,2" in capsys.readouterr().err

    def test_histograms_sum_to_one_and_tell_colours(self) -> None:
        images, index, _ = part(8, 0)
        rows = baselines.histograms(images) ** 2
        assert rows.shape == (8, 512)
        assert np.allclose(rows.sum(axis=1), 1)
        assert rows.argmax(axis=1).tolist()[:4] == rows.argmax(axis=1).tolist()[4:]
        assert len(set(rows.argmax(axis=1))) == index["label"].nunique()


class TestAblation:
    def test_every_change_is_one_that_params_can_hold(self) -> None:
        params = load_params(ROOT / "params.yaml")
        for name, change in ablation.CHANGES.items():
            values = ablation.changed(params, change)
            assert (values == params) == (name == "default"), name

    def test_folds_keep_groups_together_and_a_change_is_compared(
        self, data: Path, params: Path
    ) -> None:
        settings, pooled = load_params(params), ablation.pool(data, groups="given")
        how = {"folds": [0, 1], "of": 2, "seeds": 1}
        default = ablation.cross_validate(pooled, settings, **how)
        assert sorted(default["id"]) == sorted(pooled.index["id"])
        assert (default.groupby("group")["run"].nunique() == 1).all()
        row = ablation.summarise("default", default, default)
        assert row[0] == "default"
        assert row[1] == pytest.approx(default["right"].mean())
        assert row[4:7] == (0, 0, 0)

    def test_command_prints_a_row_a_change(
        self,
        data: Path,
        params: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(params.parent)
        options = ["--only", "default", "mixup 0.2", "--folds", "0", "--of", "2"]
        monkeypatch.setattr(sys, "argv", ["ablation", "--data", str(data), *options])
        ablation.main()
        heading, *rows = capsys.readouterr().out.splitlines()
        assert heading.split() == ablation.COLUMNS.split()
        assert [row[:24].strip() for row in rows] == ["default", "mixup 0.2"]
        assert all(len(row[24:].split()) == 8 for row in rows)

    def test_like_coloured_images_of_a_class_are_a_group(self, data: Path) -> None:
        pooled = ablation.pool(data, groups="colour")
        for group, rows in pooled.index.groupby("group"):
            assert rows["label"].nunique() == 1, group


class TestCalibration:
    def test_chance_is_that_of_as_many_images(self) -> None:
        sure = pd.DataFrame({"class": ["a"] * 400, "confidence": 1.0})
        assert (calibration.chance(sure, draws=10) == 0).all()
        errors = calibration.chance(sure.assign(confidence=0.5), draws=200)
        # Of one bin: the mean distance of a normal distribution.
        assert errors.mean() == pytest.approx(0.5 / 20 * np.sqrt(2 / np.pi), rel=0.1)


class TestEmbed:
    def test_the_stage_is_held_against_the_bare_forward_pass(
        self, params: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        update_params(params, {"image_size": SIDE, "split": {"crops": {"count": 1}}})
        shares = embed.compare(80, 1, tmp_path, load_params(params))
        assert len(shares) == 1
        assert shares[0] > 0
        # 80 images in a view and a crop, and 16 for training in two stainings of both.
        assert "224 forward passes of mobilenet_v2_035" in capsys.readouterr().out
        assert np.load(tmp_path / "embed/train.npy").shape == (16, 1, 2 * 1280)


class TestScale:
    def test_textures_are_fetched_and_memory_is_told(self, tmp_path: Path) -> None:
        scale.prepare(tmp_path, 36)
        spent = scale.spend(tmp_path, "-m", "stages.fetch")
        rows = (tmp_path / "data/raw/manifest.csv").read_text().splitlines()[1:]
        assert len(rows) == 36
        assert spent.memory > 1
        assert spent.processor > 0

    def test_what_fails_is_not_measured(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match=r"ended with 1:\n(.|\n)*ZeroDivisionError"):
            scale.spend(tmp_path, "-c", "1 / 0")
