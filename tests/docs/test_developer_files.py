"""Files for developers: hooks, editor, container, make targets, requirements and their lock."""

import ast
import json
import re
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import run
from tests.pipeline import ROOT
from tissue.common.backbones import BACKBONES

EXTENSION = "lakeFS.lakefs-dvc"
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "requirements").glob("*.lock"))]
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


def test_texts_are_the_same_bytes_on_windows() -> None:
    """By default Windows has another encoding, and writes other line ends."""
    wanted = {"read_text": {"encoding"}, "write_text": {"encoding", "newline"}}
    calls = [
        (node, node.func.attr, f"{path}:{node.lineno}")
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert [
        place
        for node, name, place in calls
        if not wanted.get(name, set()) <= {word.arg for word in node.keywords}
    ] == []


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


def test_make_installs_from_the_locks_unless_told_otherwise() -> None:
    command = ["make", "--dry-run", "--always-make", "test", "VENV=.venv"]
    installs = [line for line in run(*command, cwd=ROOT).splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all(re.search(r"--require-hashes --requirement \S+\.lock$", one) for one in installs)
    newest = run(*command, "UNPINNED=1", cwd=ROOT)
    assert ".lock" not in newest
    assert newest.count("--requirement requirements") == 2


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=str)
def test_workflows_install_what_is_locked(path: Path) -> None:
    for line in re.findall(r"pip install.*", path.read_text()):
        assert re.search(r"--require-hashes -r \S+\.lock$", line)


def test_help_names_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    printed = run("make", "--no-print-directory", "help", cwd=ROOT)
    assert [line.split()[1] for line in printed.splitlines()] == targets


def pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\S+?)==(\S+)", lock.read_text(), re.M))


def required(path: Path) -> Iterator[Requirement]:
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from required(path.parent / text[3:])
        elif text:
            yield Requirement(text)


REQUIRED = list(required(ROOT / "requirements.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_fits_its_requirements(lock: Path) -> None:
    versions = pinned(lock)
    wanted = [*REQUIRED, *required(lock.with_suffix(".txt"))]
    unfit = [
        one for one in wanted if not one.specifier.contains(versions[canonicalize_name(one.name)])
    ]
    assert unfit == []
    assert pinned(LOCKS[0]).items() <= versions.items()


@pytest.mark.parametrize("wanted", REQUIRED, ids=lambda one: one.name)
def test_every_requirement_is_imported(wanted: Requirement) -> None:
    """By fsspec, in the case of aiohttp; by this project, in others that hold more than weights."""
    found = {module for module, names in MODULES.items() if canonicalize_name(wanted.name) in names}
    assert found & (IMPORTED | {"aiohttp"}) or wanted.name in PACKAGES


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_has_a_digest(lock: Path) -> None:
    entries = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.M)[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_further_requirements_are_named_where_they_are_needed() -> None:
    """In messages, workflows and documents, and no others are."""
    named = run("git", "grep", "-ohE", r"requirements/[a-z0-9]+\.txt", cwd=ROOT).split()
    assert set(named) == {f"requirements/{path.name}" for path in ROOT.glob("requirements/*.txt")}
