"""The comparison of two revisions: paired tests, the gate, and what it says without data."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from tests.conftest import commit, run
from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.experiments import markdown, revisions
from tissue.experiments.gates import check_gates
from tissue.experiments.pairing import Paired, crossings, pair_predictions, paired_metrics
from tissue.experiments.revisions import Change
from tissue.metrics.intervals import Sampling

CLASSES = ("colon", "kidney", "liver", "lung")
SAMPLING = Sampling(200, 1)


def predictions(answers: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """A table of predictions from ids to the actual class and the answer."""
    rows = []
    for name, (actual, predicted) in answers.items():
        shares = {f"p_{one}": 0.7 if one == predicted else 0.1 for one in CLASSES}
        rows.append({"id": name, "class": actual, "predicted": predicted, **shares})
    return pd.DataFrame(rows)


def answered(right: Sequence[bool]) -> pd.DataFrame:
    """Predictions of which the given ones are right; the wrong ones say the next class."""
    answers = {}
    for i, is_right in enumerate(right):
        actual = CLASSES[i % len(CLASSES)]
        answers[f"{i:03d}"] = (actual, actual if is_right else CLASSES[(i + 1) % len(CLASSES)])
    return predictions(answers)


def donors(table: pd.DataFrame, images: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {"id": table["id"], "group": [f"d{i // images}" for i in range(len(table))]}
    )


class TestPairing:
    def test_a_gain_is_told_from_noise(self) -> None:
        rng = np.random.default_rng(1)
        old = rng.random(200) < 0.5
        better = old | (rng.random(200) < 0.3)
        swapped = old.copy()
        swapped[np.flatnonzero(old)[:8]] = False
        swapped[np.flatnonzero(~old)[:9]] = True
        for new, verdict in ((better, "gain"), (swapped, "noise"), (old, "same")):
            pairs = pair_predictions(answered(old), answered(new), donors(answered(old)))
            assert paired_metrics(pairs, sampling=SAMPLING)["accuracy"].verdict == verdict
        pairs = pair_predictions(answered(better), answered(old), donors(answered(old)))
        assert paired_metrics(pairs, sampling=SAMPLING)["accuracy"].verdict == "loss"

    def test_values_are_those_of_mcnemar(self) -> None:
        old = np.arange(40) < 30
        new = (np.arange(40) >= 5) & (np.arange(40) < 37)
        pairs = pair_predictions(answered(old), answered(new), donors(answered(old)))
        found = paired_metrics(pairs, sampling=SAMPLING)["accuracy"]
        assert found.difference == pytest.approx((7 - 5) / 40)
        assert found.p_value == pytest.approx(binomtest(5, 12).pvalue)

    def test_macro_f1_of_two_equal_models_is_seldom_a_gain_or_a_loss(self) -> None:
        """Also with few donors, whose images share their fate."""
        rng = np.random.default_rng(5)
        found = []
        for _ in range(60):
            old, new = np.repeat(rng.random((2, 8)) < 0.7, 6, axis=1)
            pairs = pair_predictions(answered(old), answered(new), donors(answered(old), 6))
            found.append(paired_metrics(pairs, sampling=SAMPLING)["macro_f1"])
        assert sum(one.verdict in ("gain", "loss") for one in found) <= 7
        # Of a model that is better on all donors it is one.
        old = np.tile([True, False, False], 20)
        pairs = pair_predictions(answered(old), answered(~old | old), donors(answered(old), 6))
        assert paired_metrics(pairs, sampling=SAMPLING)["macro_f1"].verdict == "gain"
        assert paired_metrics(pairs, sampling=SAMPLING)["macro_f1"].p_value < 0.02

    def test_images_of_one_donor_make_the_interval_wider(self) -> None:
        rng = np.random.default_rng(2)
        old, new = np.repeat(rng.random((2, 40)) < 0.5, 5, axis=1)
        widths = []
        for images in (1, 5):
            pairs = pair_predictions(answered(old), answered(new), donors(answered(old), images))
            found = paired_metrics(pairs, sampling=SAMPLING)["accuracy"]
            widths.append(found.high - found.low)
        assert widths[1] > 1.5 * widths[0]

    def test_rows_are_joined_by_id_and_not_by_order(self) -> None:
        table = answered([True, False] * 10)
        shuffled = table.sample(frac=1, random_state=1)
        pairs = pair_predictions(table, shuffled, donors(table))
        assert paired_metrics(pairs, sampling=SAMPLING)["accuracy"].verdict == "same"
        assert crossings(pairs) == ([], [])

    def test_test_sets_that_differ(self) -> None:
        table = answered([True] * 20)
        pairs = pair_predictions(table[:15], table[5:], donors(table))
        assert (len(pairs.old), pairs.only_old, pairs.only_new) == (10, 5, 5)
        assert "**The test sets differ**: 5 images only before, 5 only after" in markdown.basis(
            pairs
        )

    def test_no_image_in_common(self) -> None:
        table = answered([True] * 20)
        assert pair_predictions(table[:10], table[10:], donors(table)).old.empty

    def test_images_with_another_label_are_counted(self) -> None:
        old = answered([True] * 8)
        new = old.assign(**{"class": ["lung", *old["class"][1:]]})
        pairs = pair_predictions(old, new, donors(old))
        assert pairs.relabelled == 1
        assert "1 images have another label" in markdown.basis(pairs)

    def test_the_tissues_of_the_atlas_are_joined(self) -> None:
        old = predictions({"a": ("skin_1", "skin_2"), "b": ("colon", "colon")})
        new = predictions({"a": ("skin_1", "skin_1"), "b": ("colon", "small_intestine")})
        found = paired_metrics(pair_predictions(old, new, donors(old)), sampling=SAMPLING)
        assert found["accuracy"].difference == 0
        assert found["accuracy_10_tissues"].difference == -0.5
        assert found["accuracy_8_systems"].difference == 0

    def test_crossings_name_both_answers(self) -> None:
        old, new = answered([True, True, False]), answered([True, False, True])
        lost, won = crossings(pair_predictions(old, new, donors(old)))
        assert lost == [("001", "kidney", "kidney", "liver")]
        assert won == [("002", "liver", "lung", "liver")]


class TestGate:
    METRICS = (Change("m.test.accuracy", 0.7, 0.67), Change("m.test.new", None, 0.1))

    @pytest.mark.parametrize(("tolerance", "passed"), [(0.03, True), (0.029, False), (0.0, False)])
    def test_tolerance(self, tolerance: float, passed: bool) -> None:
        (found,) = check_gates(self.METRICS, {"m.test.accuracy": tolerance})
        assert found.passed is passed

    def test_a_rise_or_a_new_metric_passes(self) -> None:
        assert check_gates([Change("m.a", 0.1, 0.9)], {"m.a": 0.0})[0].passed
        assert check_gates(self.METRICS, {"m.test.new": 0.0})[0].passed

    @pytest.mark.parametrize("metric", [Change("n.accuracy", 0.7, None), Change("n.f1", 1, 1)])
    def test_a_metric_that_is_not_there_does_not_pass(self, metric: Change) -> None:
        with pytest.raises(InputError, match=r"Received: 'm\.accuracy'"):
            check_gates([metric], {"m.accuracy": 0.1})

    def test_a_name_that_is_nearly_right(self) -> None:
        said = r"Received: 'm\.test\.acuracy'\. Did you mean m\.test\.accuracy\? .*params\.yaml"
        with pytest.raises(InputError, match=said):
            check_gates(self.METRICS, {"m.test.acuracy": 0.1})


class TestMarkdown:
    def test_names_cannot_break_out_of_a_table(self) -> None:
        text = markdown.code("a|b`@all\n<img src=x>")
        assert text == "`a\\|b @all <img src=x>`"

    def test_long_lists_are_capped_and_counted(self) -> None:
        old, new = answered([True] * 40), answered([False] * 40)
        found = crossings(pair_predictions(old, new, donors(old)))
        text = markdown.crossings_section({"scratch": found, "pretrained": found})
        assert "scratch: 40 from right to wrong" in text
        assert text.count("and 25 more.") == 2
        assert text.count("| `0") == 2 * markdown.IMAGES_SHOWN

    def test_changes_are_absolute_and_relative(self) -> None:
        paired = {"m.test.accuracy": Paired(0.1, 0.05, 0.15, 0.0001)}
        metrics = [Change("m.test.accuracy", 0.5, 0.6), Change("s.images", 3, 3)]
        text = markdown.metrics_section(metrics, paired, [])
        assert "| 0.5 | 0.6 | +0.1000 | +20.0 % | +0.1000 (+0.0500 to +0.1500) | <0.001 |" in text
        assert "**gain**" in text
        assert text.endswith("1 metrics are the same.")

    def test_classes_that_end_as_bounds_do_are_shown(self) -> None:
        keys = ("m.test.recall.dysplasia_high", "m.test.accuracy_high", "m.parameters")
        values = ((0.95, 0.1), (0.8, 0.7), (446061, 446073))
        metrics = [Change(key, *pair) for key, pair in zip(keys, values, strict=True)]
        text = markdown.metrics_section(metrics, {}, [])
        assert "| `m.test.recall.dysplasia_high` | 0.95 | 0.1 |" in text
        assert "| `m.parameters` | 446061 | 446073 |" in text
        assert "accuracy_high" not in text

    def test_a_gate_says_what_it_cannot_judge(self) -> None:
        checks = check_gates([Change("a.test.accuracy", 0.8, 0.79)], {"a.test.accuracy": 0.03})
        same = [Change("split.source", "phantom", "phantom"), Change("split.classes", None, 12)]
        assert markdown.gate_section(checks, same, []).startswith("**Passed**: none of 1 metrics")
        assert markdown.gate_section(checks, same, ["tsne"]).startswith("**Not judged**, since")
        other = [*same, Change("split.images.test", 360, 16)]
        said = markdown.gate_section(checks, other, [])
        assert "**The data differ** (`split.images.test` `360` and now `16`), so that" in said


@pytest.mark.parametrize("watched", ["../images", "inner/", "https://x.org/a.zip"])
def test_a_watched_source_that_is_not_here_makes_nothing_stale(watched: str) -> None:
    named = {"../images": str(Path("../images").resolve()), "inner/": "inner"}.get(watched, watched)
    changes = [{"changed deps": {named: "deleted"}}]
    assert not list(revisions._real(changes, watched))
    assert list(revisions._real(changes, "stages/sources")) == [named]


def test_predictions_that_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / revisions.PREDICTIONS
    folder.mkdir(parents=True)
    for model in MODELS:
        (folder / f"{model}.csv").write_text("id,split,cl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"scratch\.csv: expected the table .* without class, pre"):
        revisions.predictions_here()


class TestCommand:
    @pytest.fixture
    def clone(self, tiny: Path, tmp_path: Path) -> Path:
        run("git", "clone", "--quiet", str(tiny), "clone", cwd=tmp_path)
        return tmp_path / "clone"

    def test_without_data_there_is_a_table_and_no_paired_test(
        self, clone: Path, tiny: Path
    ) -> None:
        said = run("python", "-m", "tissue", "compare", "--base", "main", "--gate", cwd=clone)
        assert "No paired test: there is no data/predictions/scratch.csv" in said
        assert "| `pretrained.test.accuracy` |" in said
        shutil.copytree(tiny / "data/predictions", clone / "data/predictions")
        said = run("python", "-m", "tissue", "compare", "--base", "main", "--gate", cwd=clone)
        assert "No paired test: the predictions of main cannot be read here (" in said
        # One file of a folder, as of a partial `dvc pull`, is no change of it; one more is.
        (clone / "data/split").mkdir()
        shutil.copy2(tiny / "data/split/test.csv", clone / "data/split")
        shutil.copytree(tiny / ".dvc/cache", clone / ".dvc/cache")
        run("python", "-m", "tissue", "compare", "--base", "main", "--gate", cwd=clone)
        (clone / "data/split/mine.csv").touch()
        said = run("python", "-m", "tissue", "compare", "--gate", cwd=clone, expect=1)
        assert "are not of this code: run `dvc repro` (embed, evaluate, " in said
        shutil.rmtree(clone / "data/split")
        # Results of other code are none of this one, whatever they are; also where some is gone.
        gone = (clone / "tissue/metrics/projection.py").read_bytes()
        (clone / "tissue/metrics/projection.py").unlink()
        said = run("python", "-m", "tissue", "compare", "--gate", cwd=clone, expect=1)
        assert "compare: the results are not of this code: run `dvc repro` (tsne)" in said
        (clone / "tissue/metrics/projection.py").write_bytes(gone)
        with (clone / "stages/tsne.py").open("a") as stage:
            stage.write("\n")
        said = run("python", "-m", "tissue", "compare", "--gate", cwd=clone, expect=1)
        assert "compare: the results are not of this code: run `dvc repro` (tsne)" in said

    def test_metrics_of_the_base_that_cannot_be_read(self, clone: Path) -> None:
        good = (clone / "metrics/scratch.json").read_bytes()
        (clone / "metrics/scratch.json").write_text("<<<<<<< HEAD")
        commit(clone, "conflict")
        (clone / "metrics/scratch.json").write_bytes(good)
        commit(clone, "mended")
        command = ("python", "-m", "tissue", "compare", "--gate", "--base")
        said = run(*command, "HEAD~1", cwd=clone, expect=1)
        assert "metrics/scratch.json: expected JSON in the revision HEAD~1. Received: " in said

    def test_a_base_without_results(self, clone: Path) -> None:
        run("git", "rm", "-rq", "metrics", cwd=clone)
        commit(clone, "nothing yet")
        run("git", "checkout", "-q", "HEAD~1", "--", "metrics", cwd=clone)
        commit(clone, "results")
        said = run("python", "-m", "tissue", "compare", "--base", "HEAD~1", cwd=clone)
        assert "| `pretrained.test.accuracy` | new |" in said

    def test_predictions_of_another_run_are_not_paired(self, tiny: Path, tmp_path: Path) -> None:
        clone = tmp_path / "clone"
        shutil.copytree(tiny, clone, symlinks=True)
        table = clone / "data/predictions/scratch.csv"
        text = table.read_text()
        table.unlink()  # a link to the cache
        table.write_text(text.replace("0.", "1.", 1))
        said = run("python", "-m", "tissue", "compare", cwd=clone)
        assert "No paired test: data/predictions is not that of dvc.lock: run `dvc pull` or" in said

    def test_output_file_and_pictures(self, tiny: Path, tmp_path: Path) -> None:
        out = tmp_path / "report.md"
        places = ("https://example.org/old", "https://example.org/new/")
        command = [
            "python",
            "-m",
            "tissue",
            "compare",
            "--output",
            str(out),
            "--pictures",
            *places,
        ]
        assert run(*command, cwd=tiny) == ""
        text = out.read_text(encoding="utf-8")
        assert "48 test images of " in text
        assert "pretrained: 0 from right to wrong." in text
        assert "https://example.org/new/plots/confusion_pretrained.png)" in text

    def test_output_that_cannot_be_written(self, tiny: Path, tmp_path: Path) -> None:
        command = ["python", "-m", "tissue", "compare", "--output"]
        said = run(*command, str(tmp_path), cwd=tiny, expect=1)
        assert said.startswith("compare: --output: expected the name of a file.")
        (tmp_path / "mine.txt").write_text("mine")
        said = run(*command, str(tmp_path / "mine.txt"), cwd=tiny, expect=1)
        assert said.startswith("compare: --output: expected a new file, or one that ends in .md.")
        assert (tmp_path / "mine.txt").read_text() == "mine"

    def test_a_base_that_is_empty(self, tiny: Path) -> None:
        """As of a variable that is not set: it would be HEAD, which the workspace is like."""
        said = run("python", "-m", "tissue", "compare", "--base", "", "--gate", cwd=tiny, expect=1)
        assert said.startswith("compare: --base: expected a Git revision.")

    def test_unknown_revision(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Also where no environment is active, which would put `dvc` on the path.
        monkeypatch.setenv("PATH", os.defpath)
        command = [sys.executable, "-m", "tissue", "compare", "--base", "nosuch"]
        done = subprocess.run(command, cwd=tiny, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        said = done.stderr
        assert said.startswith("compare: `dvc metrics diff nosuch")
        assert "unknown Git revision 'nosuch'" in said
