"""`dvc repro` killed in the middle of each stage, out of space, started twice: nothing is lost."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import run
from tests.pipeline import ORDER, environment, outputs
from tests.stages.test_pipeline import digests

# How often each stage writes in one process: what takes its place, and the lines of a log.
WRITES = {
    "fetch": 1, "split": 12, "embed": 12, "train_scratch": 8, "train_pretrained": 8,
    "evaluate": 24, "tsne": 6, "audit": 3, "report": 1,
}  # fmt: skip
# Python runs this before anything else: a stage stops for ever when it is about to write.
STOP = """
import os, sys, time

left, sign = int(os.environ["STOP_AT"]), os.environ["STOP_SIGN"]

def watch(event, args):
    global left
    renamed = event == "os.rename" and "/." in f"/{args[0]}"
    logged = event == "open" and str(args[0]).endswith(".tsv") and "a" in str(args[1])
    if renamed or logged:
        left -= 1
        if not left:
            os.close(os.open(sign, os.O_CREAT))
            time.sleep(3600)

if any("stages." in word or "multiprocessing" in word for word in sys.orig_argv):
    sys.addaudithook(watch)
"""


def start(clone: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        command,
        cwd=clone,
        env=environment(PYTHONUNBUFFERED="1", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


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


@pytest.mark.parametrize("stage", ORDER)
def test_killed_in_the_middle_of_a_stage(stage: str, tiny: Path, tmp_path: Path) -> None:
    clone = clone_of(tiny, tmp_path)
    forget(clone, stage)
    sign, at = tmp_path / "sign", random.Random().randint(1, WRITES[stage])
    (tmp_path / "sitecustomize.py").write_text(STOP)
    process = start(
        clone, "dvc", "repro", "--single-item", stage,
        PYTHONPATH=str(tmp_path), STOP_AT=str(at), STOP_SIGN=str(sign),
    )  # fmt: skip
    while not sign.exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"was done before write {at}: {said}"
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
