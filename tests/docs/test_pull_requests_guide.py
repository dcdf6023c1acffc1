"""docs/pull-requests.md, played by three people on one repository: A, B and C, with stand-ins."""

import re
import zipfile
from pathlib import Path

import pytest

from tests.conftest import run, update_params
from tests.guides import blocks, execute
from tests.standins import share, shared_clone

GUIDE = blocks("pull-requests.md")
# On 48 test images an accuracy is known to 14 points either way: the gate may not be closer.
TOLERANCE = {"pretrained.test.accuracy": 0.15}


@pytest.fixture(scope="module")
def team(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A, who has pushed data and a baseline, and fresh clones of B and C."""
    folder = tmp_path_factory.mktemp("team")
    a = shared_clone(quick, folder)
    update_params(a / "params.yaml", {"compare": {"tolerance": None}})
    update_params(a / "params.yaml", {"compare": {"tolerance": TOLERANCE}})
    run("dvc", "repro", cwd=a)
    share(a)
    for name in ("b", "c"):
        run("git", "clone", "--quiet", "hub.git", name, cwd=folder)
        for key in ("name", "email"):
            run("git", "config", f"user.{key}", f"{name}@example.org", cwd=folder / name)
    return a, folder / "b", folder / "c"


def test_a_team(team: tuple[Path, Path, Path]) -> None:
    """Alone protects that the guide's commands propose a change and stop a loss."""
    _, b, c = team
    (propose,), (compare,) = (
        GUIDE["Before you ask for a review"],
        GUIDE["Compare with the main branch"],
    )

    # B keeps the better of two experiments and asks for a review.
    run("dvc", "pull", cwd=b)
    assert "Running stage" not in run("dvc", "repro", cwd=b)
    run("git", "checkout", "--quiet", "-b", "penalties", cwd=b)
    for value in ("0.1", "0.3"):
        changed = f"advanced.pretrained.penalty={value}"
        options = ("--name", f"penalty-{value}", "--set-param", changed)
        run("dvc", "exp", "run", *options, cwd=b)
    run("dvc", "exp", "apply", "penalty-0.3", cwd=b)
    assert "Running stage" not in execute(propose, b)
    execute(compare, b)
    report = (b / "report.md").read_text(encoding="utf-8")
    assert "**Passed**" in report
    assert "48 test images of " in report
    assert re.search(r"\| `advanced\.pretrained\.penalty` \| .* \| `0\.3` \|", report)
    assert "not of this code" not in report

    # C lets the head learn nothing, and the gate says so.
    run("dvc", "pull", cwd=c)
    run("git", "checkout", "--quiet", "-b", "broken", cwd=c)
    update_params(c / "params.yaml", {"pretrained": {"penalty": 1000.0}})
    execute(propose, c)
    printed = execute(compare, c, status=1)
    assert "pretrained.test.accuracy fell by more than compare.tolerance allows" in printed
    report = (c / "report.md").read_text(encoding="utf-8")
    assert "**Failed**: 1 of 1" in report
    assert "**loss**" in report


def test_a_release(team: tuple[Path, Path, Path]) -> None:
    a, _, _ = team
    register, get = GUIDE["Release a model"]
    execute(register, a)
    assert "pretrained@v1.0.0" in run("git", "ls-remote", "--tags", "origin", cwd=a)
    execute(get, a)
    model = a / "pretrained.keras"
    assert model.read_bytes() == (a / "data/models/pretrained.keras").read_bytes()
    with zipfile.ZipFile(model) as opened:
        assert "config.json" in opened.namelist()


def test_every_block_of_the_guide_is_executed() -> None:
    # What make runs is tested with tissue.commands.verify; the other blocks above.
    assert GUIDE.pop("Is a result reproducible?") == ["make verify\n"]
    assert {name: len(found) for name, found in GUIDE.items()} == {
        "Before you ask for a review": 1,
        "Compare with the main branch": 1,
        "Release a model": 2,
    }
