"""docs/experiments.md, command by command, and what the experiments are afterwards."""

import json
import shutil
from pathlib import Path

from tests.conftest import run
from tests.guides import blocks, execute

GUIDE = blocks("experiments.md")


def names(clone: Path) -> set[str]:
    listed = run("dvc", "exp", "list", "--all-commits", "--name-only", cwd=clone)
    return set(listed.split())


def test_the_guide(quick: Path, tmp_path: Path) -> None:
    clone, hub, other = tmp_path / "clone", tmp_path / "hub.git", tmp_path / "other"
    shutil.copytree(quick, clone, symlinks=True)
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(hub), cwd=tmp_path)
    run("git", "remote", "add", "origin", str(hub), cwd=clone)
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"), cwd=clone)
    run("git", "commit", "--quiet", "--all", "--message", "remote", cwd=clone)
    run("git", "push", "--quiet", "origin", "main", cwd=clone)
    run("git", "clone", "--quiet", str(hub), str(other), cwd=tmp_path)
    # An environment that is set up, for make.
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/installed").touch()
    make = {"make compare": f"make --silent compare VENV={tmp_path}/venv"}

    here, aside = GUIDE["One change"]
    said = execute(here, clone)
    assert "Running stage 'train_scratch'" in said
    assert "Running stage 'embed'" not in said
    assert "lr: 0.0001" in (clone / "params.yaml").read_text()
    before = run("git", "status", "--porcelain", cwd=clone)
    execute(aside, clone)
    assert run("git", "status", "--porcelain", cwd=clone) == before
    assert names(clone) == {"slower", "faster"}

    (sweep,) = GUIDE["A sweep"]
    execute(sweep, clone)
    assert len(names(clone)) == 2 + 4

    table, shown = GUIDE["Compare"]
    said = execute(table, clone, make)
    (slower,) = [line for line in said.splitlines() if "slower" in line]
    assert slower.split()[-6:] == ["0.8"] * 4 + ["0.0001", "32"]
    assert "pretrained val accuracy" in said
    said = run("make", "--silent", "compare", f"VENV={tmp_path}/venv", "KEEP=batch_size", cwd=clone)
    assert said.split("\n")[0].split() == ["Created", "State", "batch_size"]
    said = execute(shown, clone)
    assert "index.html" in said
    assert "faster" in said

    apply, branch = GUIDE["Keep one"]
    execute(apply, clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    metrics = json.loads((clone / "metrics/pretrained.json").read_text())
    assert metrics["test"]["accuracy"] == 0.8
    execute(branch, clone)
    assert "lr: 0.003" in run("git", "show", "try-faster:params.yaml", cwd=clone)

    offer, take = GUIDE["Share"]
    assert "faster" in execute(offer, clone)
    execute(take, other)
    assert "Data and pipelines are up to date." in run("dvc", "status", cwd=other)

    gone, back = GUIDE["Throw away"]
    execute(gone, clone)
    assert "faster" not in names(clone)
    (clone / "params.yaml").write_text("broken")
    (clone / "metrics/scratch.json").unlink()
    execute(back, clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    assert list(GUIDE) == ["One change", "A sweep", "Compare", "Keep one", "Share", "Throw away"]
