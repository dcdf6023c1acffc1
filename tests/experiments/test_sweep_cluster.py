"""What a sweep on a Ray cluster refuses before it starts: tests/chunks/test_cluster.py runs one."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import commit, run
from tests.standins import shared_clone
from tissue.common.errors import InputError
from tissue.experiments.cluster import Commit, Order, run_in_clone, run_on_cluster, shared_commit


def test_what_others_could_not_get_at_is_refused(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = shared_clone(quick, tmp_path)
    monkeypatch.chdir(clone)

    def git(*command: str) -> Callable[[], object]:
        return lambda: run("git", *command, cwd=clone)

    def remote(*words: str) -> Callable[[], object]:
        return lambda: run("dvc", "remote", "add", "--force", "--default", *words, cwd=clone)

    def push() -> None:
        commit(clone, "more")
        run("git", "push", "--quiet", "origin", "main", cwd=clone)

    steps: list[tuple[Callable[[], object], str]] = [
        (lambda: None, r"Git remote origin.*`git remote add origin <url>`"),
        (git("remote", "add", "origin", "../hub.git"), "not pushed. Run `git push`"),
        (git("push", "--quiet", "origin", "main"), r"default DVC remote.*Received: none"),
        (remote("--local", "storage", "here"), r"default DVC remote.*Received: none"),
        ((clone / ".dvc/config.local").unlink, "default DVC remote"),
        (remote("storage", "../remote"), r"clean working tree.*' M .dvc/config'. Commit"),
        (push, r"Received: storage with the relative path ../../remote"),
        (lambda: [remote("storage", str(clone.with_name("remote")))(), push()], "Run `dvc push`"),
    ]
    for step, message in steps:
        step()
        with pytest.raises(InputError, match=message):
            shared_commit()
    run("dvc", "push", cwd=clone)
    sha = run("git", "rev-parse", "HEAD", cwd=clone).strip()
    assert shared_commit() == Commit(str(clone.with_name("hub.git")), sha)


def test_ray_is_asked_for_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"expected the package ray.*requirements/ray"):
        list(run_on_cluster([{"lr": "0.1"}]))


def test_a_machine_that_cannot_clone_is_named(tmp_path: Path) -> None:
    nowhere = Commit(str(tmp_path / "nowhere"), "0" * 40)
    order = Order("sweep-1", {"lr": "0.1"}, "the experiment lr=0.1")
    failed = run_in_clone(order, commit=nowhere)
    assert isinstance(failed, InputError)
    assert str(failed).startswith("on ")
    assert "expected `git clone` to work. Received the status 128" in str(failed)
