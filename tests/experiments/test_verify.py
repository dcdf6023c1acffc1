"""The command `verify`: whether a run counts as reproduced, and what is named when it does not."""

import json
import platform
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import commit, run
from tests.invoke import invoke
from tests.pipeline import ROOT
from tissue.config.processor import this_processor

METRICS = "metrics/scratch.json"


@pytest.fixture
def clone(quick: Path, tmp_path: Path) -> Path:
    """A clone without data."""
    run("git", "clone", "--quiet", str(quick), "clone", cwd=tmp_path)
    return tmp_path / "clone"


def raise_accuracy(clone: Path, by: float) -> None:
    """Write another test accuracy than that of the run."""
    metrics = json.loads((clone / METRICS).read_text())
    metrics["test"]["accuracy"] += by
    (clone / METRICS).write_text(json.dumps(metrics))


def commit_another_run(clone: Path, accuracy: float) -> None:
    """Commit a run with another model of so much more accuracy; leave the working folder."""
    yaml = YAML()
    lock = yaml.load(clone / "dvc.lock")
    lock["stages"]["train_scratch"]["outs"][0]["md5"] = "0" * 32
    yaml.dump(lock, clone / "dvc.lock")
    raise_accuracy(clone, accuracy)
    commit(clone, "another run")
    run("git", "checkout", "--quiet", "HEAD~1", "--", "dvc.lock", "metrics", cwd=clone)


def test_the_same_bytes(quick: Path) -> None:
    assert "the same bytes as at HEAD" in invoke("verify", cwd=quick)


def note(clone: Path, processor: str) -> None:
    """Commit that the model was trained on a processor."""
    (clone / "processors.txt").write_text(f"split: x86_64\ntrain_scratch: {processor}\n")


def test_on_one_architecture_the_bytes_have_to_be_the_same(clone: Path) -> None:
    note(clone, f"{platform.machine()}, another one")
    commit_another_run(clone, accuracy=0)
    printed = invoke("verify", cwd=clone, expect=1)
    assert f"at HEAD it ran on {platform.machine()}, another one; here on {this_processor()}" in (
        printed
    )
    assert "expected the same bytes" in printed
    author = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    run("git", "rm", "--quiet", "processors.txt", cwd=clone)
    run("git", *author, "commit", "--quiet", "-m", "x", "--", "processors.txt", cwd=clone)
    assert "ran on an unknown processor; here" in invoke("verify", cwd=clone, expect=1)


def test_the_first_stage_that_differs_is_named(clone: Path) -> None:
    note(clone, "another_architecture, Z80")
    commit_another_run(clone, accuracy=0.01)
    printed = invoke("verify", cwd=clone)
    expected = "first stage that differs from HEAD is train_scratch: data/models/scratch.keras"
    assert expected in printed
    assert "the same bytes: fetch, split, embed, train_pretrained" in printed
    assert "all 3 metrics with a tolerance agree within it" in printed


def test_a_metric_beyond_its_tolerance_is_named(clone: Path) -> None:
    note(clone, "another_architecture, Z80")
    commit_another_run(clone, accuracy=0.5)
    printed = invoke("verify", cwd=clone, expect=1)
    assert "beyond its tolerance: scratch.test.accuracy" in printed


def test_a_metric_changed_by_hand_is_no_result_of_the_run(clone: Path) -> None:
    raise_accuracy(clone, 0.001)
    printed = invoke("verify", cwd=clone, expect=1)
    assert "changed since the run that dvc.lock describes" in printed
    assert f"  evaluate: {METRICS}" in printed


def test_a_clone_that_ran_nothing_has_reproduced_nothing(clone: Path) -> None:
    printed = invoke("verify", cwd=clone, expect=1)
    assert "nothing to verify, since there is no data/embed: run `make verify`" in printed


def test_without_a_lock_there_is_nothing_to_verify(clone: Path) -> None:
    (clone / "dvc.lock").unlink()
    printed = invoke("verify", cwd=clone, expect=1)
    assert printed.startswith("verify: dvc.lock: expected the run to verify.")


def test_marks_of_a_merge(clone: Path) -> None:
    lock = (clone / "dvc.lock").read_text()
    (clone / "dvc.lock").write_text(f"<<<<<<< HEAD\n{lock}=======\n{lock}>>>>>>> theirs\n")
    printed = invoke("verify", cwd=clone, expect=1)
    assert printed.startswith("verify: dvc.lock: expected YAML. Received: mapping values")


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    printed = invoke("verify", cwd=tmp_path, expect=1)
    assert printed.startswith("verify: dvc.lock at HEAD: expected a committed run.")
