"""The documents: links that lead somewhere, commands that exist, the length asked for."""

import re
from pathlib import Path

import pytest

from docs import list_licences
from tests.pipeline import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "benchmarks/results").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text)
    local = [a or b for a, b in targets if not re.match(r"[a-z]+:|#", a or b)]
    missing = [one for one in local if not (document.parent / one.partition("#")[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_make_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^make ([a-z-]+)", document.read_text(encoding="utf-8"), re.M))
    assert named <= targets


def test_the_documents_are_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    assert len((ROOT / "docs/models.md").read_text(encoding="utf-8").split()) <= 1500


@pytest.mark.parametrize("document", sorted((ROOT / "benchmarks/results").glob("*.md")), ids=str)
def test_results_name_command_commit_and_machine(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for fact in ("Command", "Commit", "Machine"):
        assert re.search(rf"^- \*\*{fact}\*\*: \S", text, re.M), f"{document}: add its {fact}"


def test_every_package_has_a_licence() -> None:
    page = (ROOT / list_licences.PAGE).read_text(encoding="utf-8")
    listed = set(re.split(r"[ ,|]+", page.partition(list_licences.START)[2]))
    named = {name for path in list_licences.FILES for name in list_licences.names(ROOT / path)}
    missing = named - listed
    assert not missing, f"run python -m docs.list_licences: {sorted(missing)}"


def test_the_rooms_are_described_where_one_looks() -> None:
    rooms = {path.name for path in (ROOT / "tissue").iterdir() if any(path.glob("*.py"))}
    package = (ROOT / "tissue/__init__.py").read_text(encoding="utf-8")
    for room in rooms:
        assert re.search(rf"^    {room} ", package, re.M), f"tissue/__init__.py: describe {room}"


def test_imports_between_rooms_run_in_one_direction() -> None:
    package = (ROOT / "tissue/__init__.py").read_text(encoding="utf-8")
    order = re.findall(r"^    ([a-z_]+)  +", package, re.M)
    problems = []
    for path in sorted((ROOT / "tissue").glob("*/*.py")):
        for name in re.findall(r"^\s*from tissue\.([a-z_]+)", path.read_text("utf-8"), re.M):
            if order.index(name) > order.index(path.parent.name):
                problems.append(
                    f"{path.relative_to(ROOT)} imports tissue/{name}, which stands below"
                )
    assert problems == []


def test_the_review_is_summed_up_on_one_page() -> None:
    text = (ROOT / "docs/moen-2019.md").read_text(encoding="utf-8")
    words = [word for word in text.split() if re.search(r"\w", word)]
    assert 450 <= len(words) <= 600
