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
    """Write the square of a number plus an offset, and log the number.

    Chunk 3 fails if there is a file `trouble`: once, or always if the file says so.
    """
    offset = Path(inputs.at["offset"])
    trouble = offset.with_name("trouble")
    if number == 3 and trouble.exists():
        kind = trouble.read_text()
        if kind != "killed always":
            trouble.unlink()
        if kind == "error":
            raise InputError("three: expected a whole chunk. Received: half of it.")
        os.kill(os.getpid(), signal.SIGKILL)
    with offset.with_name("done").open("a") as done:
        done.write(f"{number}\n")
    with inputs.open("offset") as file:
        out.write_text(str(number**2 + int(file.read())))


def run(
    folder: Path, *, workers: int = 0, state: str = "a", trouble: str = "",
    engine: Engine = LOCAL_ENGINE, out: str = "out",
    then: Callable[[Path], object] = lambda chunks: None,
) -> dict[str, str]:  # fmt: skip
    """Do all chunks, call `then` with their folder, and return the contents of the files."""
    (folder / "offset").write_text("10")
    if trouble:
        (folder / "trouble").write_text(trouble)
    work = Work(square, CHUNKS, {"offset": folder / "offset"}, state)
    with run_chunks(work, folder / out, engine, workers=workers) as chunks:
        files = {path.name: path.read_text() for path in chunks.glob("[!.]*")}
        then(chunks)
    return files


def done(folder: Path) -> list[int]:
    """The numbers of the chunks that were done, in order."""
    return [int(line) for line in (folder / "done").read_text().split()]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_chunk_is_done_once_and_nothing_is_left(workers: int, tmp_path: Path) -> None:
    expected = {f"{number}.txt": str(number**2 + 10) for number in range(6)}
    assert run(tmp_path, workers=workers) == expected
    assert sorted(done(tmp_path)) == list(range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", "offset"]


@pytest.mark.parametrize("workers", [0, 2])
def test_finished_chunks_are_kept_after_an_error(workers: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="three: expected a whole chunk"):
        run(tmp_path, workers=workers, trouble="error")
    assert 3 not in done(tmp_path)
    assert sorted(run(tmp_path, workers=workers)) == NAMES
    assert sorted(done(tmp_path)) == list(range(6)), "a chunk was done twice"


def test_chunks_of_another_state_are_deleted(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run(tmp_path, trouble="error")
    assert done(tmp_path) == [0, 1, 2]
    kept: list[Path] = []
    run(tmp_path, state="b", then=lambda chunks: kept.extend(chunks.parent.iterdir()))
    assert len(kept) == 1
    assert done(tmp_path) == [0, 1, 2, *range(6)]


def test_a_chunk_whose_process_is_killed_is_done_again(tmp_path: Path) -> None:
    assert sorted(run(tmp_path, workers=4, trouble="killed once")) == NAMES
    assert not (tmp_path / "trouble").exists()


def test_a_chunk_that_always_kills_its_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected to read chunk 3\. Received: a process that"):
        run(tmp_path, workers=2, trouble="killed always")
    assert 3 not in done(tmp_path)


def test_two_clones_can_use_one_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        run(tmp_path, engine=engine, out=f"{clone}/out", state=state)

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
    assert list((tmp_path / "a").iterdir()) == []


def test_a_storage_out_of_reach_does_not_cost_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"nosuch://lab/out-{'0' * 32}"
    run(tmp_path, then=lambda folder: (folder / ".storage").write_text(url))
    printed = capsys.readouterr().out
    assert f"left over from a run on a cluster: {url} (InputError" in printed


@pytest.mark.parametrize("record", ["", ".", "kept", "file://kept", "s3://bucket/out-0"])
def test_a_damaged_record_deletes_nothing(
    record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that a full disk has left empty: an empty path would be the working folder."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "kept/file"
    kept.parent.mkdir()
    kept.touch()

    def damage(folder: Path) -> None:
        old = folder.with_name("of-an-older-run")
        old.mkdir()
        for each in (folder, old):
            (each / ".storage").write_text(record)

    for state in "ab":
        run(tmp_path, state=state, then=damage)
    assert kept.exists()


def test_the_state_includes_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissue.chunks.running.CODE", tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    before = state_digest({"size": 1})
    assert state_digest({"size": 1}) == before
    assert state_digest({"size": 2}) != before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert state_digest({"size": 1}) != before


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"engine: expected the package ray.*requirements/ray"):
        list(run_on_ray(print, CHUNKS, address="auto", threads=1))


def test_no_cluster_at_the_address() -> None:
    pytest.importorskip("ray")
    message = r"engine\.address: expected a Ray cluster.* '127.0.0.1:1'.* `ray start --head`"
    with pytest.raises(InputError, match=message):
        list(run_on_ray(print, CHUNKS, address="127.0.0.1:1", threads=1))
