"""Whether a run counts as reproduced, and which stage is named when it does not."""

import copy
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.experiments.columns import readable
from tissue.experiments.gates import beyond, first_difference, foreign_inputs, outcomes
from tissue.experiments.revisions import Change

LOCK: dict[str, Any] = {
    "stages": {
        "split": {
            "cmd": "python -m stages.split",
            "deps": [{"path": "data/raw", "md5": "1"}, {"path": "stages/split.py", "md5": "2"}],
            "params": {"params.yaml": {"seed": 17}},
            "outs": [{"path": "data/split", "md5": "3"}],
        },
        "train": {
            "cmd": "python -m stages.train",
            "deps": [{"path": "data/split/train.npy", "md5": "4"}],
            "outs": [{"path": "data/models/a.keras", "md5": "5"}],
        },
    }
}


def changed(stage: str, kind: str, md5: str) -> dict[str, Any]:
    lock = copy.deepcopy(LOCK)
    lock["stages"][stage][kind][0]["md5"] = md5
    return lock


def test_the_same_run() -> None:
    found = outcomes(LOCK, copy.deepcopy(LOCK))
    assert first_difference(found) is None
    assert foreign_inputs(found) == {}


def test_the_first_stage_that_differs_is_named_and_not_what_follows_from_it() -> None:
    lock = changed("split", "outs", "x")
    lock["stages"]["train"]["deps"][0]["md5"] = "y"
    lock["stages"]["train"]["outs"][0]["md5"] = "z"
    found = outcomes(LOCK, lock)
    first = first_difference(found)
    assert first is not None
    assert (first.stage, first.outputs) == ("split", ["data/split"])
    assert foreign_inputs(found) == {}


def test_other_code_parameters_and_commands_are_another_run() -> None:
    assert foreign_inputs(outcomes(LOCK, changed("split", "deps", "x"))) == {"split": ["data/raw"]}
    lock = copy.deepcopy(LOCK)
    lock["stages"]["split"]["params"]["params.yaml"]["seed"] = 18
    lock["stages"]["train"]["cmd"] = "python train.py"
    expected = {"split": ["params.yaml: seed"], "train": ["cmd"]}
    assert foreign_inputs(outcomes(LOCK, lock)) == expected


@pytest.mark.parametrize("name", ["md5", "etag", "checksum"])
def test_another_source_is_another_run_wherever_it_lies(name: str) -> None:
    old, new = (changed("split", "deps", "1") for _ in range(2))
    for lock, value in ((old, "a"), (new, "b")):
        lock["stages"]["split"]["deps"][0] = {"path": "https://lab/images.zip", name: value}
    assert foreign_inputs(outcomes(old, new)) == {"split": ["https://lab/images.zip"]}


def test_a_stage_that_is_gone_differs() -> None:
    found = outcomes(LOCK, {"stages": {"split": LOCK["stages"]["split"]}})
    assert foreign_inputs(found)["train"] == ["data/split/train.npy", "cmd"]


@pytest.mark.parametrize(("now", "count"), [(0.72, 0), (0.68, 0), (0.73, 1), (0.67, 1), (None, 1)])
def test_metrics_agree_within_their_tolerance_in_either_direction(now: Any, count: int) -> None:
    assert len(beyond([Change("m.accuracy", 0.7, now)], {"m.accuracy": 0.02})) == count


def clone_of(tiny: Path, tmp_path: Path) -> Path:
    run("git", "clone", "--quiet", str(tiny), "clone", cwd=tmp_path)
    return tmp_path / "clone"


def raise_accuracy(clone: Path, by: float) -> None:
    """Write another test accuracy than that of the run."""
    path = clone / "metrics/scratch.json"
    metrics = json.loads(path.read_text())
    metrics["test"]["accuracy"] += by
    path.write_text(json.dumps(metrics))


def test_the_command_names_the_stage_and_the_metric(tiny: Path, tmp_path: Path) -> None:
    assert "the same bytes as at HEAD" in run("python", "-m", "tissue", "verify", cwd=tiny)
    clone = clone_of(tiny, tmp_path)
    yaml = YAML()
    lock = yaml.load(clone / "dvc.lock")
    lock["stages"]["train_scratch"]["outs"][0]["md5"] = "0" * 32
    yaml.dump(lock, clone / "dvc.lock")
    said = run("python", "-m", "tissue", "verify", cwd=clone)
    assert "first stage that differs from HEAD is train_scratch: data/models/scratch.keras" in said
    assert "the same bytes: fetch, split, embed, train_pretrained" in said
    assert "agree within it" in said
    raise_accuracy(clone, 0.5)
    said = run("python", "-m", "tissue", "verify", cwd=clone, expect=1)
    assert "changed since the run that dvc.lock tells of" in said
    # As if the run had made it.
    content = (clone / "metrics/scratch.json").read_bytes()
    for stage in lock["stages"].values():
        for entry in (*stage.get("deps", ()), *stage["outs"]):
            if entry["path"] == "metrics/scratch.json":
                entry.update(md5=hashlib.md5(content).hexdigest(), size=len(content))
    yaml.dump(lock, clone / "dvc.lock")
    said = run("python", "-m", "tissue", "verify", cwd=clone, expect=1)
    assert "beyond its tolerance: scratch.test.accuracy" in said


def test_a_metric_changed_by_hand_is_no_result_of_the_run(tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    raise_accuracy(clone, 0.001)
    said = run("python", "-m", "tissue", "verify", cwd=clone, expect=1)
    assert "changed since the run that dvc.lock tells of" in said
    assert "  evaluate: metrics/scratch.json" in said


def test_a_clone_that_ran_nothing_has_reproduced_nothing(tiny: Path, tmp_path: Path) -> None:
    run("git", "clone", "--quiet", str(tiny), "clone", cwd=tmp_path)
    said = run("python", "-m", "tissue", "verify", cwd=tmp_path / "clone", expect=1)
    assert "nothing to verify, since there is no data/embed: run `make verify`" in said


def test_without_a_lock_there_is_nothing_to_verify(tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    (clone / "dvc.lock").unlink()
    said = run("python", "-m", "tissue", "verify", cwd=clone, expect=1)
    assert said.startswith("verify: dvc.lock: expected the run to verify.")


def test_marks_of_a_merge(tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    lock = (clone / "dvc.lock").read_text()
    (clone / "dvc.lock").write_text(f"<<<<<<< HEAD\n{lock}=======\n{lock}>>>>>>> theirs\n")
    said = run("python", "-m", "tissue", "verify", cwd=clone, expect=1)
    assert said.startswith("verify: dvc.lock: expected YAML, as `dvc repro` writes it.")


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    for name in ("stages", "params.yaml"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copied(ROOT / name, tmp_path / name)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    said = run("python", "-m", "tissue", "verify", cwd=tmp_path, expect=1)
    assert said.startswith("verify: dvc.lock at HEAD: expected a committed run.")


def test_columns_of_experiments_are_readable() -> None:
    csv = (
        "Experiment,rev,typ,Created,metrics/scratch.json:test.accuracy,test.p_value,lr\n"
        ",main,baseline,2026-01-31T12:34:56,0.5,0.1,0.001\n"
        "tall-oak,abc1234,branch_base,2026-01-31T12:35:56,0.6,,1e-05\n"
    )
    table = readable(pd.read_csv(io.StringIO(csv), dtype=str, keep_default_na=False))
    assert list(table) == ["Created", "scratch test accuracy", "test p_value", "lr"]
    assert list(table.index) == ["main", "  tall-oak"]
    assert table.loc["  tall-oak", "test p_value"] == "-"
