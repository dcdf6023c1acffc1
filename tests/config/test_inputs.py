"""A stage that is started by hand compares what it reads with dvc.lock."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import copied, made_once, run
from tissue.common.errors import InputError
from tissue.config import processor
from tissue.config.inputs import check_inputs, is_by_hand, note_run

PIPELINE = """
stages:
  first:
    cmd: mkdir -p made && echo a > made/a && echo b > made/b && echo 1 > number
    outs: [made]
    metrics: [number: {cache: false}]
  second:
    cmd: cat made/a made/b number > joined
    deps: [made, number]
    outs: [joined]
"""


def make(folder: Path) -> None:
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE)
    run("dvc", "init", "--quiet", "--no-scm", cwd=folder)
    run("dvc", "repro", cwd=folder)


@pytest.fixture
def repo(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = copied(made_once("by_hand", make, tmp_path_factory), tmp_path_factory)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return folder


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda root: (root / "made/a").write_text("c\n"), "made"),
        (lambda root: (root / "made/a").write_text(""), "made"),
        (lambda root: (root / "made/a").unlink(), "made"),
        (lambda root: (root / "made/c").write_text(""), "made"),
        (lambda root: shutil.copyfile(root / "made/b", root / "made/a"), "made"),
        (lambda root: (root / "number").write_text("2\n"), "number"),
    ],
)
def test_what_differs_is_named(damage: Callable[[Path], object], named: str, repo: Path) -> None:
    assert is_by_hand()
    check_inputs("second")
    damage(repo)
    with pytest.raises(InputError, match=rf"Received: {named} with .*repro first`") as caught:
        check_inputs("second")
    check_inputs("first")  # which reads nothing
    run(*str(caught.value).split("`")[1].split(), cwd=repo)  # the advice helps
    if named == "made":
        check_inputs("second")


def test_what_a_stage_wrote_by_hand_is_taken_until_it_changes(repo: Path) -> None:
    (repo / "made/a").write_text("c\n")
    note_run("first")
    check_inputs("second")
    changed = (repo / "made/a").stat().st_mtime_ns + 10_000_000_000
    (repo / "made/a").write_text("d\n")
    os.utime(repo / "made/a", ns=(changed, changed))
    with pytest.raises(InputError, match="Received: made with other content"):
        check_inputs("second")


def test_a_lock_that_cannot_be_read(repo: Path) -> None:
    (repo / "dvc.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(InputError, match=r"expected dvc\.yaml and dvc\.lock .* Received: "):
        check_inputs("second")
    (repo / "dvc.lock").unlink()
    check_inputs("second")


def test_the_processor_of_each_stage_is_noted_beside_the_lock(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "this_processor", lambda: "x86_64, A, AVX2")
    processor.note_processor("split")
    monkeypatch.setattr(processor, "this_processor", lambda: "arm64, B")
    processor.note_processor("fetch")
    assert (repo / "processors.txt").read_text() == "fetch: arm64, B\nsplit: x86_64, A, AVX2\n"
    marks = "<<<<<<< ours\nsplit: x86_64, C\n>>>>>>> theirs\n"
    assert processor.parse_processors(marks) == {"split": "x86_64, C"}
    assert processor.architecture("x86_64, A, AVX2") == "x86_64"


def test_under_dvc_nothing_is_compared(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "second")
    assert not is_by_hand()
