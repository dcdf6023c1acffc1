"""Files for developers: hooks, editor, container, make targets, requirements and their lock."""

import json
import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.common.backbones import BACKBONES

EXTENSION = "lakeFS.lakefs-dvc"
LOCK = (ROOT / "requirements.lock").read_text()
CODE = [path for name in ("tissue", "stages") for path in (ROOT / name).rglob("*.py")]
IMPORTED = {
    found[1]
    for path in CODE
    for found in re.finditer(r"^ *(?:import|from) (\w+)", path.read_text(), re.M)
}
MODULES = {
    module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()
}
PACKAGES = {backbone.package for backbone in BACKBONES.values()}
REQUIRED = [
    Requirement(line.partition("#")[0])
    for line in (ROOT / "requirements.txt").read_text().splitlines()
]


def test_hooks_run_in_the_environment(quick: Path, tmp_path: Path) -> None:
    run("pre-commit", "validate-config", cwd=ROOT)
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", str(quick), str(clone), cwd=tmp_path)
    (clone / "stages/new.py").write_text("import os\n")
    run("git", "add", "stages/new.py", cwd=clone)
    printed = run("pre-commit", "run", cwd=clone, expect=1)
    assert "F401" in printed
    assert re.search(r"ruff check\.+Failed", printed)
    assert re.search(r"ruff format\.+Passed", printed)
    assert re.search(r"dvc status\.+Passed", printed)


def test_editor_and_container_recommend_the_extension() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert EXTENSION in container["customizations"]["vscode"]["extensions"]
    recommended = json.loads((ROOT / ".vscode/extensions.json").read_text())
    assert EXTENSION in recommended["recommendations"]
    command = container["postCreateCommand"].split()
    assert "pip install" in run(*command, "VENV=.venv", "--dry-run", "--always-make", cwd=ROOT)


def test_help_names_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    printed = run("make", "--no-print-directory", "help", cwd=ROOT)
    assert [line.split()[1] for line in printed.splitlines()] == targets


@pytest.mark.parametrize("wanted", REQUIRED, ids=lambda one: one.name)
def test_the_lock_fits_the_requirements(wanted: Requirement) -> None:
    pinned = re.findall(r"^(\S+?)==(\S+)", LOCK, re.M)
    versions = [version for name, version in pinned if name == canonicalize_name(wanted.name)]
    assert versions
    assert all(wanted.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("wanted", REQUIRED, ids=lambda one: one.name)
def test_every_requirement_is_imported(wanted: Requirement) -> None:
    """By fsspec, in the case of aiohttp; by this project, in others that hold more than weights."""
    found = {module for module, names in MODULES.items() if canonicalize_name(wanted.name) in names}
    assert found & (IMPORTED | {"aiohttp"}) or wanted.name in PACKAGES


def test_every_line_of_the_lock_has_a_digest() -> None:
    entries = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.M)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_further_requirements_are_named_where_they_are_needed() -> None:
    """In messages, workflows and documents, and no others are."""
    named = run("git", "grep", "-ohE", r"requirements/[a-z0-9]+\.txt", cwd=ROOT).split()
    assert set(named) == {f"requirements/{path.name}" for path in ROOT.glob("requirements/*.txt")}
