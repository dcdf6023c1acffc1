"""`dvc repro` killed in the middle of a stage, out of space, started twice: nothing is lost."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import run
from tests.killing import kill_at_a_write, start
from tests.mutations import WEEKLY
from tests.pipeline import ORDER, outputs
from tests.stages.test_pipeline import digests

# Each stage is killed in test_pipeline.py. Of DVC, which treats all alike, it is enough to see one
# that works in chunks, one that logs and one that writes once; in CI weekly all.
KILLED = ORDER if WEEKLY else ("split", "train_pretrained", "report")


def clone_of(tiny: Path, tmp_path: Path) -> Path:
    clone = tmp_path / "clone"
    shutil.copytree(tiny, clone, symlinks=True)
    return clone


def lock_of(clone: Path) -> Any:
    return YAML(typ="safe", pure=True).load(clone / "dvc.lock")


def assert_as_before(clone: Path, tiny: Path) -> None:
    made = [path for stage in ORDER for path in outputs(stage)]
    assert digests(clone, made) == digests(tiny, made)
    # A stage that DVC had forgotten comes last in its file.
    changed = run("git", "status", "--porcelain", cwd=clone).split()
    assert set(changed) <= {"M", "dvc.lock"}
    assert lock_of(clone) == lock_of(tiny)
    left = [path for path in clone.rglob(".*.partial") if "tmp" not in path.parts]
    assert left == []


def forget(clone: Path, *stages: str) -> None:
    """Let DVC forget the runs of stages, so that they have to run and cannot be looked up."""
    shutil.rmtree(clone / ".dvc/cache/runs")
    yaml = YAML()
    lock = yaml.load(clone / "dvc.lock")
    for stage in stages:
        del lock["stages"][stage]
    yaml.dump(lock, clone / "dvc.lock")


@pytest.mark.parametrize("stage", KILLED)
def test_killed_in_the_middle_of_a_stage(stage: str, tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    forget(clone, stage)
    kill_at_a_write(stage, clone, tmp_path / "kill", "dvc", "repro", "--single-item", stage)
    assert f"Running stage '{stage}'" in run("dvc", "repro", cwd=clone)
    assert_as_before(clone, tiny)


def test_two_at_once(tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    command = ("dvc", "repro", "--force", "--single-item", "--no-run-cache", "report")
    both = [start(clone, *command) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert 0 in [process.returncode for process in both], said
    refused = [text for process, text in zip(both, said, strict=True) if process.returncode]
    assert all("lock" in text.lower() or "busy" in text.lower() for text in refused)
    run("dvc", "repro", cwd=clone)
    assert_as_before(clone, tiny)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk(tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    forget(clone, "fetch")
    small = ("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(clone / "data"))
    if subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        said = run("dvc", "repro", cwd=clone, expect=255)
        assert "fetch: expected space for what it writes" in said
    finally:
        subprocess.run(("umount", "-l", str(clone / "data")), check=True)
    run("git", "checkout", "--quiet", "dvc.lock", cwd=clone)
    run("dvc", "repro", cwd=clone)
    assert_as_before(clone, tiny)
