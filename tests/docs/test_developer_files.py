"""Files for developers: hooks, editor, container, make targets and the lock of the environment."""

import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import run
from tests.pipeline import ROOT

EXTENSION = "iterative.dvc"


def test_hooks_run_in_the_environment(tiny: Path, tmp_path: Path) -> None:
    run("pre-commit", "validate-config", cwd=ROOT)
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", str(tiny), str(clone), cwd=tmp_path)
    said = run("pre-commit", "run", "--all-files", cwd=clone)
    assert re.search(r"ruff check\.+Passed", said)
    assert re.search(r"ruff format\.+Passed", said)
    assert re.search(r"dvc status\.+Passed", said)
    (clone / "stages/new.py").write_text("import os\n")
    run("git", "add", "stages/new.py", cwd=clone)
    assert "F401" in run("pre-commit", "run", "ruff-check", cwd=clone, expect=1)


def test_editor_and_container_recommend_the_extension() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert EXTENSION in container["customizations"]["vscode"]["extensions"]
    recommended = json.loads((ROOT / ".vscode/extensions.json").read_text())
    assert EXTENSION in recommended["recommendations"]
    command = container["postCreateCommand"].split()
    assert "pip install" in run(*command, "VENV=.venv", "--dry-run", "--always-make", cwd=ROOT)


def test_help_names_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    said = run("make", "--no-print-directory", "help", cwd=ROOT)
    assert [line.split()[1] for line in said.splitlines()] == targets


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]


@pytest.mark.parametrize("wanted", requirements(), ids=lambda one: one.name)
def test_the_lock_fits_the_requirements(wanted: Requirement) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^(\S+?)==(\S+)", lock, re.M)
    versions = [version for name, version in pinned if name == canonicalize_name(wanted.name)]
    assert versions
    assert all(wanted.specifier.contains(version) for version in versions)


def test_every_line_of_the_lock_has_a_digest() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.M)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
