"""What a sweep on a Ray cluster refuses before it starts; `tests/chunks/test_cluster.py` runs one."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import commit, run
from tissue.common.errors import InputError
from tissue.experiments.cluster import Commit, Order, Runner, run_on_cluster, shared_commit


def shared_clone(quick: Path, tmp_path: Path) -> Path:
    """A clone with stand-ins as stages, and beside it a repository that is not its remote yet."""
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", "hub.git", cwd=tmp_path)
    return shutil.copytree(quick, tmp_path / "clone", symlinks=True)


def share(clone: Path) -> None:
    """Bring a commit, and the data that it names, to remotes beside the clone."""
    run("git", "remote", "add", "origin", "../hub.git", cwd=clone)
    folder = str(clone.with_name("remote"))
    run("dvc", "remote", "add", "--default", "storage", folder, cwd=clone)
    commit(clone, "share")
    run("dvc", "push", cwd=clone)
    run("git", "push", "--quiet", "origin", "main", cwd=clone)


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
    for step, told in steps:
        step()
        with pytest.raises(InputError, match=told):
            shared_commit()
    run("dvc", "push", cwd=clone)
    sha = run("git", "rev-parse", "HEAD", cwd=clone).strip()
    assert shared_commit() == Commit(str(clone.with_name("hub.git")), sha)


def test_ray_is_asked_for_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"expected the package ray.*requirements-ray"):
        list(run_on_cluster([{"lr": "0.1"}]))


def test_a_machine_that_cannot_clone_is_named(tmp_path: Path) -> None:
    nowhere = Runner(Commit(str(tmp_path / "nowhere"), "0" * 40))
    failed = nowhere(Order("sweep-1", {"lr": "0.1"}, "the experiment lr=0.1"))
    assert isinstance(failed, InputError)
    assert str(failed).startswith("on ")
    assert "expected `git clone` to work. Received the status 128" in str(failed)
