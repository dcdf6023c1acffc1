"""Chunks of work: stopped, killed, continued, and on a cluster with a storage."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tissue.chunks.cluster import run_on_ray
from tissue.chunks.files import Files
from tissue.chunks.running import LOCAL_ENGINE, Chunk, Work, run_chunks, state_digest
from tissue.common.errors import InputError
from tissue.config.schema import Engine

CHUNKS = [Chunk(f"{number}.txt", f"chunk {number}", 1, {"number": number}) for number in range(6)]
NAMES = [chunk.name for chunk in CHUNKS]


def square(out: Path, inputs: Files, *, number: int) -> None:
    """Write the square of a number plus an offset, and log the number."""
    with inputs.open("offset") as file:
        offset = int(file.read())
    with beside(inputs, "done").open("a") as done:
        done.write(f"{number}\n")
    out.write_text(str(number**2 + offset))


def fail(out: Path, inputs: Files, *, number: int) -> None:
    """Like `square`, but chunk 3 fails until a file says that it is repaired."""
    if number == 3 and not beside(inputs, "repaired").exists():
        raise InputError("three: expected a whole chunk. Received: half of it.")
    square(out, inputs, number=number)


def die_once(out: Path, inputs: Files, *, number: int) -> None:
    """Like `square`, but the process of chunk 3 is killed the first time."""
    mark = beside(inputs, "died")
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    square(out, inputs, number=number)


def die(out: Path, inputs: Files, *, number: int) -> None:
    """Like `square`, but the process of chunk 3 is always killed."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    square(out, inputs, number=number)


def beside(inputs: Files, name: str) -> Path:
    return Path(inputs.at["offset"]).with_name(name)


class Project:
    """A folder with an input, and the output `out` of a stage."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.offset = folder, folder / "offset"
        self.offset.write_text("10")

    def run(
        self, function: Callable[..., None], *, workers: int = 0, state: str = "a",
        engine: Engine = LOCAL_ENGINE, out: str = "out",
        then: Callable[[Path], object] = lambda folder: None,
    ) -> dict[str, str]:  # fmt: skip
        """Do all chunks, call `then` with their folder, and return the contents of the files."""
        work = Work(function, CHUNKS, {"offset": self.offset}, state)
        with run_chunks(work, self.folder / out, engine, workers=workers) as folder:
            files = {path.name: path.read_text() for path in folder.glob("[!.]*")}
            then(folder)
        return files

    def done(self) -> list[int]:
        """The numbers of the chunks that were done, in order."""
        return [int(line) for line in (self.folder / "done").read_text().split()]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_chunk_is_done_once_and_nothing_is_left(workers: int, project: Project) -> None:
    expected = {f"{number}.txt": str(number**2 + 10) for number in range(6)}
    assert project.run(square, workers=workers) == expected
    assert sorted(project.done()) == list(range(6))
    assert sorted(path.name for path in project.folder.iterdir()) == ["done", "offset"]


@pytest.mark.parametrize("workers", [0, 2])
def test_finished_chunks_are_kept_after_an_error(workers: int, project: Project) -> None:
    with pytest.raises(InputError, match="three: expected a whole chunk"):
        project.run(fail, workers=workers)
    assert 3 not in project.done()
    (project.folder / "repaired").touch()
    assert sorted(project.run(fail, workers=workers)) == NAMES
    assert sorted(project.done()) == list(range(6)), "a chunk was done twice"


def test_chunks_of_another_state_are_deleted(project: Project) -> None:
    with pytest.raises(InputError):
        project.run(fail)
    assert project.done() == [0, 1, 2]
    kept: list[Path] = []
    project.run(square, state="b", then=lambda folder: kept.extend(folder.parent.iterdir()))
    assert len(kept) == 1
    assert project.done() == [0, 1, 2, *range(6)]


def test_two_clones_can_use_one_storage(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each clone has a folder of its own there, and deletes only that, also after a change."""

    def work(clone: str, *, state: str = "x", kind: str = "ray", stop_at: str = "") -> None:
        def run_here(task: Any, chunks: list[Chunk], **_: Any) -> Iterator[tuple[Chunk, None]]:
            for chunk in chunks:
                with task.folder.atomic_write(chunk.name) as path:
                    path.write_text("result")
                if chunk.name == stop_at:
                    raise InputError("stopped")
                yield chunk, None

        monkeypatch.setattr("tissue.chunks.running.run_on_ray", run_here)
        engine = Engine(kind=kind, address="auto", storage="memory://lab", storage_options={})
        project.run(square, engine=engine, out=f"{clone}/out", state=state)

    def folders() -> set[str]:
        fs = fsspec.filesystem("memory")
        return {name.rpartition("/")[2] for name in fs.ls("/lab", detail=False)}

    with pytest.raises(InputError, match="stopped"):
        work("a", stop_at="2.txt")
    kept = folders()
    work("b")
    assert folders() == kept
    work("a", state="y")
    assert folders() == set()
    for stop_at in ("2.txt", "4.txt"):
        with pytest.raises(InputError, match="stopped"):
            work("a", stop_at=stop_at)
        assert len(folders()) == 1, "the folder of the stopped run was not found again"
    # The storage is emptied at the end, also without the cluster.
    work("a", kind="local")
    assert folders() == set()
    assert list((project.folder / "a").iterdir()) == []


def test_a_storage_out_of_reach_does_not_cost_the_results(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"nosuch://lab/out-{'0' * 32}"
    project.run(square, then=lambda folder: (folder / ".storage").write_text(url))
    printed = capsys.readouterr().out
    assert f"left over from a run on a cluster: {url} (InputError" in printed


@pytest.mark.parametrize("record", ["", ".", "kept", "file://kept", "s3://bucket/out-0"])
def test_a_damaged_record_deletes_nothing(
    record: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that a full disk has left empty: an empty path would be the working folder."""
    monkeypatch.chdir(project.folder)
    kept = project.folder / "kept/file"
    kept.parent.mkdir()
    kept.touch()

    def damage(folder: Path) -> None:
        old = folder.with_name("of-an-older-run")
        old.mkdir()
        for each in (folder, old):
            (each / ".storage").write_text(record)

    for state in "ab":
        project.run(square, state=state, then=damage)
    assert kept.exists()


def test_the_state_includes_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissue.chunks.running.CODE", tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    before = state_digest({"size": 1})
    assert state_digest({"size": 1}) == before
    assert state_digest({"size": 2}) != before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert state_digest({"size": 1}) != before


def test_a_chunk_whose_process_is_killed_is_done_again(project: Project) -> None:
    assert sorted(project.run(die_once, workers=4)) == NAMES
    assert (project.folder / "died").exists()


def test_a_chunk_that_always_kills_its_process_is_named(project: Project) -> None:
    with pytest.raises(InputError, match=r"expected to read chunk 3\. Received: a process that"):
        project.run(die, workers=2)
    assert 3 not in project.done()


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"engine: expected the package ray.*requirements-ray"):
        list(run_on_ray(print, CHUNKS, address="auto", threads=1))
