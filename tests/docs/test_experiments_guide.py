"""docs/experiments.md, command by command, and what the experiments are afterwards."""

import json
from pathlib import Path

from tests.conftest import run
from tests.guides import blocks, execute
from tests.standins import environment_for_make, share, shared_clone

GUIDE = blocks("experiments.md")


def names(clone: Path) -> set[str]:
    listed = run("dvc", "exp", "list", "--all-commits", "--name-only", cwd=clone)
    return set(listed.split())


def test_the_guide(quick: Path, tmp_path: Path) -> None:
    """Alone protects all commands of docs/experiments.md, one after the other."""
    clone, other = shared_clone(quick, tmp_path), tmp_path / "other"
    share(clone)
    run("git", "clone", "--quiet", "hub.git", "other", cwd=tmp_path)
    venv = environment_for_make(tmp_path)

    here, aside = GUIDE["One change"]
    printed = execute(here, clone)
    assert "Running stage 'train_scratch'" in printed
    assert "Running stage 'embed'" not in printed
    assert "lr: 0.0001" in (clone / "params.yaml").read_text()
    before = run("git", "status", "--porcelain", cwd=clone)
    execute(aside, clone)
    assert run("git", "status", "--porcelain", cwd=clone) == before
    assert names(clone) == {"slower", "faster"}

    (sweep,) = GUIDE["A sweep"]
    execute(sweep, clone, {"range(5,7)": "range(5,6)"})  # half of the experiments
    assert len(names(clone)) == 2 + 2

    table, shown = GUIDE["Compare"]
    printed = execute(table, clone, {"make compare": f"make --silent compare {venv}"})
    (slower,) = [line for line in printed.splitlines() if "slower" in line]
    assert slower.split().count("0.800") == 4
    assert "0.0001" in slower.split()
    assert max(map(len, printed.splitlines())) <= 160
    assert "pretrained" in printed
    printed = execute(shown, clone)
    assert "index.html" in printed
    assert "faster" in printed

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
