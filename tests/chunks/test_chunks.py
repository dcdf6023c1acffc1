"""Work in pieces: stopped, killed, taken up again, and the files it passes on."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pytest

from tissue.chunks.cluster import run_on_ray
from tissue.chunks.files import Files, Folder, local_folder
from tissue.chunks.running import LOCAL_ENGINE, Chunk, run_chunks, state_digest
from tissue.common.errors import InputError
from tissue.config.schema import Engine
from tissue.data.shards import read_rows

PIECES = [Chunk(f"{number}.txt", f"piece {number}", 1, {"number": number}) for number in range(6)]


def square(out: Path, inputs: Files, *, number: int) -> None:
    """Write what an input says of a number, and note that it was done."""
    with inputs.open("offset") as file:
        offset = int(file.read())
    with Path(os.fsdecode(inputs.at["offset"])).with_name("done").open("a") as done:
        done.write(f"{number}\n")
    out.write_text(str(number**2 + offset))


def stumble(out: Path, inputs: Files, *, number: int) -> None:
    """Like `square`, but the third piece fails until a file says that it may not."""
    if number == 3 and not Path(inputs.at["offset"]).with_name("mended").exists():
        raise InputError("three: expected a whole piece. Received: half of it.")
    square(out, inputs, number=number)


def die_once(out: Path, inputs: Files, *, number: int) -> None:
    """Like `square`, but the process of the third piece is killed the first time."""
    mark = Path(inputs.at["offset"]).with_name("died")
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    square(out, inputs, number=number)


def die(out: Path, inputs: Files, *, number: int) -> None:
    """Like `square`, but the process of the third piece is always killed."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    square(out, inputs, number=number)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "offset").write_text("10")
    return {"offset": tmp_path / "offset"}


def done(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "done").read_text().split()]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_piece_is_done_once_and_nothing_is_left(
    workers: int, inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with run_chunks(
        square, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=workers, state="a"
    ) as folder:
        assert [(folder / piece.name).read_text() for piece in PIECES] == [
            str(number**2 + 10) for number in range(6)
        ]
    assert sorted(done(tmp_path)) == list(range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", "offset"]


@pytest.mark.parametrize("workers", [0, 2])
def test_pieces_that_were_done_are_kept_when_it_stops(
    workers: int, inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def start(state: str) -> list[str]:
        with run_chunks(
            stumble, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=workers, state=state
        ) as folder:
            return sorted(path.name for path in folder.iterdir())

    with pytest.raises(InputError, match="three: expected a whole piece"):
        start("a")
    first = set(done(tmp_path))
    assert 3 not in first
    (tmp_path / "mended").touch()
    assert start("a") == [piece.name for piece in PIECES]
    assert sorted(done(tmp_path)) == list(range(6)), "a piece was done twice"


def test_pieces_of_another_state_are_not_used_and_go(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(InputError),
        run_chunks(stumble, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=0, state="a"),
    ):
        pass
    assert done(tmp_path) == [0, 1, 2]
    with run_chunks(
        square, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=0, state="b"
    ) as folder:
        assert len(list(folder.parent.iterdir())) == 1
    assert done(tmp_path) == [0, 1, 2, *range(6)]


def test_two_clones_may_use_one_storage(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a folder of its own there, and empties none but its own, also after a change."""

    def here(task: Any, pieces: list[Chunk], **_: Any) -> Iterator[tuple[Chunk, None]]:
        for piece in pieces:
            with task.folder.writing(piece.name) as path:
                path.write_text("result")
            if piece.number == stop:
                raise InputError("stopped")
            yield piece, None

    class Numbered(NamedTuple):
        name: str
        about: str
        images: int
        arguments: dict
        number: int

    pieces = [Numbered(*piece, number=number) for number, piece in enumerate(PIECES)]
    monkeypatch.setattr("tissue.chunks.cluster.run_on_ray", here)
    engine = Engine(kind="ray", address="auto", storage="memory://lab", storage_options={})

    def work(clone: str, state: str) -> None:
        out = tmp_path / clone / "out"
        with run_chunks(square, pieces, inputs, out, engine=engine, workers=0, state=state):
            pass

    def folders() -> set[str]:
        fs = fsspec.filesystem("memory")
        return {name.rpartition("/")[2] for name in fs.ls("/lab", detail=False)}

    stop = 2
    with pytest.raises(InputError, match="stopped"):
        work("a", "x")
    kept = folders()
    stop = -1
    work("b", "x")
    assert folders() == kept
    work("a", "y")
    assert folders() == set()
    # Whoever ends the work empties the storage, also without the cluster.
    stop = 2
    with pytest.raises(InputError, match="stopped"):
        work("a", "x")
    assert len(folders()) == 1
    stop = 4
    with pytest.raises(InputError, match="stopped"):
        work("a", "x")
    assert len(folders()) == 1, "the folder of the stopped run was not found again"
    engine = engine.model_copy(update={"kind": "local"})
    work("a", "x")
    assert folders() == set()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == []


def test_storage_out_of_reach_does_not_cost_the_results(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with run_chunks(
        square, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=0, state="a"
    ) as folder:
        (folder / ".storage").write_text(f"nosuch://lab/out-{'0' * 32}")
    assert f"left over from a run on a cluster: nosuch://lab/out-{'0' * 32} (InputError" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("record", ["", ".", "kept", "file://kept", "s3://bucket/out-0"])
def test_nothing_is_deleted_after_a_record_that_is_not_ours(
    record: str, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that a full disk has left empty: an empty path would be the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    out = tmp_path / "out"
    for state in "ab":
        with run_chunks(
            square, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=0, state=state
        ) as folder:
            (folder / ".storage").write_text(record)
            old = folder.with_name("of-an-older-run")
            old.mkdir()
            (old / ".storage").write_text(record)
    assert (tmp_path / "kept/file").exists()


def test_state_is_that_of_the_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tissue.chunks.running.CODE", tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    before = state_digest({"size": 1})
    assert state_digest({"size": 1}) == before
    assert state_digest({"size": 2}) != before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert state_digest({"size": 1}) != before


def test_piece_whose_process_is_killed_is_done_again(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with run_chunks(
        die_once, PIECES, inputs, out, engine=LOCAL_ENGINE, workers=4, state="a"
    ) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [p.name for p in PIECES]
    assert (tmp_path / "died").exists()


def test_piece_that_kills_its_process_each_time_is_named(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    with (
        pytest.raises(InputError, match=r"expected to read piece 3\. Received: a process that"),
        run_chunks(
            die, PIECES, inputs, tmp_path / "out", engine=LOCAL_ENGINE, workers=2, state="a"
        ),
    ):
        pass
    assert 3 not in done(tmp_path)


@pytest.fixture(params=["folder", "url"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder of either kind; the URL is that of fsspec's file system in memory."""
    if request.param == "folder":
        yield local_folder(tmp_path / "shared")
        return
    folder = Folder("memory://shared", {})
    yield folder
    folder.remove()


def test_file_appears_whole_or_not_at_all(shared: Folder) -> None:
    def half() -> None:
        with shared.writing("a.npy") as path:
            path.write_bytes(b"half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        half()
    assert shared.names() == set()
    with shared.writing("a.npy") as path:
        path.write_bytes(b"whole")
        assert shared.names() == set()
    assert shared.names() == {"a.npy"}
    shared.remove()
    assert shared.names() == set()


def test_files_are_shared_and_brought(shared: Folder, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"content")
    files = shared.share({"a.bin": tmp_path / "a.bin", "sub/b.bin": tmp_path / "a.bin"})
    with files.open("a.bin") as file:
        assert file.read() == b"content"
    with files.here(["a.bin", "sub/b.bin"]) as paths:
        assert [path.read_bytes() for path in paths.values()] == [b"content"] * 2
    with shared.writing("c.npy") as path:
        path.write_bytes(b"result")
    here = tmp_path / "shared"
    here.mkdir(exist_ok=True)
    shared.bring("c.npy", here)
    assert (here / "c.npy").read_bytes() == b"result"


def test_rows_are_read_from_a_file_that_cannot_be_mapped(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(10, 2, 3)
    np.save(tmp_path / "a.npy", array)
    for rows in (slice(0, 10), slice(3, 5), slice(9, 10)):
        read = read_rows((tmp_path / "a.npy").open("rb"), rows)
        assert read.dtype == array.dtype
        assert np.array_equal(read, array[rows])


def test_ray_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"engine: expected the package ray.*requirements-ray"):
        list(run_on_ray(print, PIECES, address="auto", threads=1))
