"""The command `compare`: with and without data, and of which code the results are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import commit, run
from tests.invoke import invoke
from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.experiments import revisions

TSNE_IS_STALE = "compare: the results are not of this code: run `dvc repro` (tsne)"


@pytest.mark.parametrize("watched", ["../images", "inner/", "https://x.org/a.zip"])
def test_a_watched_source_that_is_not_here_makes_nothing_stale(watched: str) -> None:
    named = {"../images": str(Path("../images").resolve()), "inner/": "inner"}.get(watched, watched)
    changes = [{"changed deps": {named: "deleted"}}]
    assert not list(revisions._not_missing(changes, watched))
    assert list(revisions._not_missing(changes, "stages/sources")) == [named]


def test_predictions_that_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / revisions.PREDICTIONS
    folder.mkdir(parents=True)
    for model in MODELS:
        (folder / f"{model}.csv").write_text("id,split,cl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"scratch\.csv: expected the table .* without class, pre"):
        revisions.predictions_here()


@pytest.fixture
def clone(quick: Path, tmp_path: Path) -> Path:
    """A clone without data."""
    run("git", "clone", "--quiet", str(quick), "clone", cwd=tmp_path)
    return tmp_path / "clone"


def test_without_data_there_is_a_table_and_no_paired_test(clone: Path, quick: Path) -> None:
    printed = invoke("compare", "--gate", cwd=clone)
    assert "No paired test: there is no data/predictions/scratch.csv" in printed
    assert re.search(r"^pretrained\.test\.accuracy +new +0\.\d+", printed, re.M) or re.search(
        r"^pretrained\.test\.accuracy +0\.\d+ +0\.\d+", printed, re.M
    )
    shutil.copytree(quick / "data/predictions", clone / "data/predictions")
    printed = invoke("compare", "--gate", cwd=clone)
    assert "No paired test: the predictions of main cannot be read here (" in printed


def test_one_file_of_a_folder_is_no_change_and_one_more_is(clone: Path, quick: Path) -> None:
    """As of a partial `dvc pull`."""
    (clone / "data/split").mkdir(parents=True)
    shutil.copy2(quick / "data/split/test.csv", clone / "data/split")
    shutil.copytree(quick / ".dvc/cache", clone / ".dvc/cache")
    invoke("compare", "--gate", cwd=clone)
    (clone / "data/split/mine.csv").touch()
    printed = invoke("compare", "--gate", cwd=clone, expect=1)
    assert "are not of this code: run `dvc repro` (audit, embed, evaluate, " in printed


def test_results_of_other_code(clone: Path) -> None:
    """Whatever they are; also where a file is gone."""
    (clone / "tissue/metrics/projection.py").unlink()
    assert "`dvc repro` (audit, evaluate, report, tsne)" in invoke(
        "compare", "--gate", cwd=clone, expect=1
    )
    run("git", "restore", "tissue", cwd=clone)
    with (clone / "stages/tsne.py").open("a") as stage:
        stage.write("\n")
    assert TSNE_IS_STALE in invoke("compare", "--gate", cwd=clone, expect=1)


def test_metrics_of_the_base_that_cannot_be_read(clone: Path) -> None:
    (clone / "metrics/scratch.json").write_text("<<<<<<< HEAD")
    commit(clone, "conflict")
    run("git", "checkout", "-q", "HEAD~1", "--", "metrics", cwd=clone)
    commit(clone, "mended")
    printed = invoke("compare", "--gate", "--base", "HEAD~1", cwd=clone, expect=1)
    assert "metrics/scratch.json: expected JSON in the revision HEAD~1. Received: " in printed


def test_a_base_without_results(clone: Path) -> None:
    run("git", "rm", "-rq", "metrics", cwd=clone)
    commit(clone, "nothing yet")
    run("git", "checkout", "-q", "HEAD~1", "--", "metrics", cwd=clone)
    commit(clone, "results")
    printed = invoke("compare", "--base", "HEAD~1", cwd=clone)
    assert re.search(r"^pretrained\.test\.accuracy +new +", printed, re.M)


def test_a_base_without_a_run(clone: Path) -> None:
    run("git", "rm", "-q", "dvc.lock", cwd=clone)
    commit(clone, "no run yet")
    run("git", "checkout", "-q", "HEAD~1", "--", "dvc.lock", cwd=clone)
    commit(clone, "a run")
    printed = invoke("compare", "--base", "HEAD~1", cwd=clone)
    assert "Not known, since HEAD~1 has no dvc.lock that can be read." in printed


def test_predictions_of_another_run_are_not_paired(quick: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(quick, tmp_path / "clone", symlinks=True)
    table = clone / "data/predictions/scratch.csv"
    text = table.read_text()
    table.unlink()  # a link to the cache
    table.write_text(text.replace("0.", "1.", 1))
    expected = "No paired test: data/predictions is not that of dvc.lock: run dvc pull or"
    assert expected in invoke("compare", cwd=clone)


def test_output_file_and_pictures(quick: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    urls = ("https://example.org/old", "https://example.org/new/")
    assert invoke("compare", "--output", str(out), "--pictures", *urls, cwd=quick) == ""
    text = out.read_text(encoding="utf-8")
    assert "48 test images of " in text
    assert "pretrained: 0 from right to wrong." in text
    assert "https://example.org/new/plots/confusion_pretrained.png)" in text


def test_output_that_cannot_be_written(quick: Path, tmp_path: Path) -> None:
    printed = invoke("compare", "--output", str(tmp_path), cwd=quick, expect=1)
    assert printed.startswith("compare: --output: expected the name of a file.")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    printed = invoke("compare", "--output", str(mine), cwd=quick, expect=1)
    assert printed.startswith("compare: --output: expected a new file, or one that ends in .md.")
    assert mine.read_text() == "mine"


def test_a_base_that_is_empty(quick: Path) -> None:
    """As of a variable that is not set: it would be HEAD, which the workspace is like."""
    printed = invoke("compare", "--base", "", "--gate", cwd=quick, expect=1)
    assert printed.startswith("compare: --base: expected a Git revision.")


def test_unknown_revision(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where no environment is active, which would put `dvc` on the path.
    monkeypatch.setenv("PATH", os.defpath)
    command = [sys.executable, "-m", "tissue", "compare", "--base", "nosuch"]
    done = subprocess.run(command, cwd=quick, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("compare: expected `git ls-tree` to work.")
    assert "Received the status 128: fatal: Not a valid object name nosuch" in done.stderr
