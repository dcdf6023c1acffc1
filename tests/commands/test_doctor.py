"""The command `doctor`: what it finds in a clone, and what it advises."""

import os
from pathlib import Path

import pytest

from tests.conftest import run
from tests.invoke import invoke
from tests.pipeline import ROOT
from tissue.commands import doctor


@pytest.fixture
def clone(quick: Path, tmp_path: Path) -> Path:
    run("git", "clone", "--quiet", str(quick), "clone", cwd=tmp_path)
    return tmp_path / "clone"


def findings(folder: Path) -> dict[str, doctor.Finding]:
    return {one.what: one for one in doctor.examine(folder)}


def test_a_clone_in_which_everything_works(clone: Path, tmp_path: Path) -> None:
    for key, value in {"user.name": "Ada", "user.email": "ada@example.org"}.items():
        run("git", "config", key, value, cwd=clone)
    (tmp_path / "remote").mkdir()
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"), cwd=clone)
    found = findings(clone)
    assert found["Git"].found == "ada@example.org"
    assert found["DVC cache"].found.endswith("linked")
    assert found["DVC remote"].found == "storage answers"
    assert "verify true" in found["DVC remote"].advice
    assert "test" in found["extras"].found.split(", ")
    run("dvc", "remote", "modify", "storage", "verify", "true", cwd=clone)
    assert findings(clone)["DVC remote"].state == "ok"
    assert "ok      DVC remote" in invoke("doctor", cwd=clone)


def test_what_is_missing_is_named_with_its_remedy(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setattr(doctor, "MEMORY", 1e6)
    run("dvc", "remote", "add", "--default", "storage", "ssh://127.0.0.1:1/nowhere", cwd=clone)
    printed = invoke("doctor", cwd=clone, expect=1)
    assert "MISSING Git         no user.name" in printed
    assert 'git config --global user.name "Ada"' in printed
    assert "MISSING memory" in printed
    assert "MISSING DVC remote  storage: " in printed


def test_outside_of_a_clone(tmp_path: Path) -> None:
    found = next(iter(doctor._git(tmp_path)))
    assert (found.state, found.found) == ("MISSING", f"{tmp_path} is no clone")


def test_a_system_that_does_not_tell_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, whose Python has no `sysconf`."""
    monkeypatch.delattr(os, "sysconf")
    assert [one.what for one in doctor._machine(ROOT)] == ["disk", "threads"]
