"""The command `pull`: what somebody changed in a remote is refused before it is written."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import commit, run
from tests.invoke import invoke
from tests.pipeline import ROOT
from tests.servers import Site, serving
from tissue.common.errors import InputError
from tissue.experiments.dvc import call

STAGE = """
stages:
  make:
    cmd: >-
      mkdir -p data/out/sub && echo a > data/out/a && echo b > data/out/sub/b && echo c > data/c
      && echo 1 > m.json
    outs: [data/out, data/c]
    metrics: [{m.json: {cache: false}}]
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository, what it pushed, and a clone of it without data."""
    folder = tmp_path_factory.mktemp("pull")
    mine = folder / "mine"
    mine.mkdir()
    run("git", "init", "--quiet", cwd=mine)
    run("dvc", "init", "--quiet", cwd=mine)
    run("dvc", "remote", "add", "--quiet", "--default", "storage", "../remote", cwd=mine)
    (mine / "dvc.yaml").write_text(STAGE)
    run("dvc", "repro", "--quiet", cwd=mine)
    run("dvc", "push", "--quiet", cwd=mine)
    commit(mine, "data")
    run("git", "clone", "--quiet", "mine", "yours", cwd=folder)
    return folder


@pytest.fixture
def yours(pushed: Path, tmp_path: Path) -> Path:
    """The clone, with a remote that the test may change."""
    shutil.copytree(pushed, tmp_path / "all", symlinks=True)
    for path in (tmp_path / "all/remote").rglob("*"):
        path.chmod(0o755)
    return tmp_path / "all/yours"


def listing(yours: Path) -> Path:
    """The list of the files of data/out in the remote."""
    (found,) = (yours.parent / "remote").rglob("*.dir")
    return found


def rewrite(path: Path, change: Callable[[list[dict[str, str]]], object]) -> None:
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", ".dvc"} & set(path.parts) and path.name != ".gitignore"
    }


DATA = {"data/out/a", "data/out/sub/b", "data/c"}


def test_everything_or_what_is_named(yours: Path) -> None:
    assert "2 files of 1 outputs" in invoke("pull", "data/out", cwd=yours)
    assert not (yours / "data/c").exists()
    assert "3 files of 2 outputs" in invoke("pull", cwd=yours)
    assert files(yours) >= DATA
    assert "1 files of 1 outputs" in invoke("pull", "data/out/sub", cwd=yours)


@pytest.mark.parametrize("name", ["../../../escaped", "/tmp/escaped", "sub/../../b", "..\\b"])
def test_a_list_that_leads_elsewhere(yours: Path, name: str) -> None:
    rewrite(listing(yours), lambda entries: entries[1].update(relpath=name))
    before = files(yours.parent)
    assert "Nothing was pulled" in invoke("pull", cwd=yours, expect=1)
    assert files(yours.parent) == before


def test_a_list_that_leaves_a_file_out(yours: Path) -> None:
    rewrite(listing(yours), lambda entries: entries.pop())
    printed = invoke("pull", cwd=yours, expect=1)
    assert f"Delete files/md5/{listing(yours).parent.name}/{listing(yours).name}" in printed
    assert not (yours / "data/out").exists()


def test_a_forged_list_in_the_cache_gives_way_to_the_true_one(yours: Path) -> None:
    there = listing(yours)
    true = there.read_text()
    rewrite(there, lambda entries: entries[1].update(relpath="../../../escaped"))
    here = yours / ".dvc/cache/files/md5" / there.parent.name / there.name
    here.parent.mkdir(parents=True)
    shutil.copy2(there, here)
    there.write_text(true)
    invoke("pull", cwd=yours)
    assert files(yours) >= DATA
    assert not (yours.parent / "escaped").exists()


def name_in_lock(yours: Path, there: Path) -> None:
    """Name a list of files that was changed in dvc.lock, as who commits it can."""
    digest = hashlib.md5(there.read_bytes()).hexdigest()
    moved = there.parents[1] / digest[:2] / f"{digest[2:]}.dir"
    moved.parent.mkdir(exist_ok=True)
    there.rename(moved)
    lock = yours / "dvc.lock"
    lock.write_text(lock.read_text().replace(there.parent.name + there.name, f"{digest}.dir"))


def test_a_list_that_leads_elsewhere_and_is_the_one_of_dvc_lock(yours: Path) -> None:
    """Whoever commits may change dvc.lock, too."""
    there = listing(yours)
    rewrite(there, lambda entries: entries[1].update(relpath="../../../escaped"))
    name_in_lock(yours, there)
    assert "'../../../escaped'" in invoke("pull", cwd=yours, expect=1)
    assert not (yours.parent / "escaped").exists()


def test_a_forged_list_where_dvc_lock_does_not_count_files(yours: Path) -> None:
    """DVC did not always write `nfiles`, and whether it is there must not matter."""
    lock = yours / "dvc.lock"
    lock.write_text("".join(line for line in lock.open() if "nfiles" not in line))
    rewrite(listing(yours), lambda entries: entries[1].update(relpath="../../../escaped"))
    assert "Nothing was pulled" in invoke("pull", cwd=yours, expect=1)
    assert not (yours.parent / "escaped").exists()


def test_a_forged_list_in_a_remote_of_one_output_alone(yours: Path) -> None:
    (yours.parent / "remote").rename(yours.parent / "other")
    run("dvc", "remote", "add", "--quiet", "other", "../other", cwd=yours)
    path = yours / "dvc.yaml"
    path.write_text(path.read_text().replace("[data/out,", "[{data/out: {remote: other}},"))
    (forged,) = (yours.parent / "other").rglob("*.dir")
    rewrite(forged, lambda entries: entries[1].update(relpath="../../../escaped"))
    assert "Nothing was pulled" in invoke("pull", "data/out", cwd=yours, expect=1)
    assert not (yours.parent / "escaped").exists()


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", '[{"relpath": 1, "md5": 2}]', "[" * 9999])
def test_a_list_of_another_form(yours: Path, text: str) -> None:
    there = listing(yours)
    there.write_text(text)
    name_in_lock(yours, there)
    assert "expected a list of files" in invoke("pull", cwd=yours, expect=1)


def test_a_remote_whose_library_has_errors_of_its_own(yours: Path) -> None:
    run("dvc", "remote", "modify", "storage", "url", "ssh://127.0.0.1:9/x", cwd=yours)
    run("dvc", "remote", "modify", "storage", "keyfile", str(yours / "dvc.lock"), cwd=yours)
    printed = invoke("pull", cwd=yours, expect=1)
    assert "expected the remote to answer. Received: KeyImportError" in printed


def test_a_file_that_was_changed(yours: Path) -> None:
    """The remote is not set to `verify`."""
    (changed,) = (
        path
        for path in (yours.parent / "remote").rglob("*")
        if path.is_file() and path.read_text() == "b\n"
    )
    changed.write_text("x\n")
    assert "missing or damaged in the remote" in invoke("pull", cwd=yours, expect=1)
    assert not (yours / "data/out/sub/b").exists()


def test_a_copy_that_was_changed_in_the_cache_is_fetched_again(yours: Path) -> None:
    invoke("pull", cwd=yours)
    for path in (yours / ".dvc/cache").rglob("*"):
        if path.is_file() and path.read_text() == "b\n":
            path.chmod(0o644)
            path.write_text("x\n")
    shutil.rmtree(yours / "data/out")
    invoke("pull", cwd=yours)
    assert (yours / "data/out/sub/b").read_text() == "b\n"


def test_files_that_no_list_names(yours: Path) -> None:
    invoke("pull", cwd=yours)
    (yours / "data/c").unlink()
    (yours / "data/c").write_text("mine\n")
    (yours / "data/out/new").write_text("mine\n")
    printed = invoke("pull", cwd=yours, expect=1)
    assert (yours / "data/c").read_text() == (yours / "data/out/new").read_text() == "mine\n"
    assert "data" in printed


def test_secrets_in_the_address_of_a_remote(yours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As DVC logs them, and Git or DVC print them where `compare` quotes them."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with serving(Site({})) as site:
        url = f"{site.url.replace('http://', 'http://me:S3CR3T@')}/x?sig=S3CR3T"
        run("dvc", "remote", "modify", "storage", "url", url, cwd=yours.parent / "mine")
        printed = run("python", "-m", "tissue", "push", cwd=yours.parent / "mine", expect=1)
    assert "sig=***" in printed
    assert "S3CR3T" not in printed
    with pytest.raises(InputError, match=r"sig=\*\*\*") as caught:
        call("git", "clone", "http://127.0.0.1:1/x?sig=S3CR3T", cwd=yours)
    assert "Received the status" in str(caught.value)
    assert "S3CR3T" not in str(caught.value).partition("Received")[2]


def test_no_remote(yours: Path) -> None:
    run("dvc", "remote", "remove", "storage", cwd=yours)
    assert "no remote specified" in invoke("pull", cwd=yours, expect=1)
