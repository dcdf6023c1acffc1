"""Work cut into pieces, each of which writes one file: on this machine or on a cluster.

What a piece writes depends on its arguments and inputs alone, so it may be done anywhere, twice, or
again after something died. Files that are whole stay until the stage has ended well, and are not
made again when it is started anew after it was stopped.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from stages.cli.running import InputError
from stages.engine.files import Files, Folder, local_folder
from stages.engine.local import run_locally
from stages.params.schema import Engine

LOCAL = Engine(kind="local", address="auto", storage=None, storage_options={})
ROWS = 64  # of a piece: few enough for all processes to end at about the same time
CODE = Path(__file__).parents[1]
RECORD = ".storage"  # beside pieces: the URL of the folder in `engine.storage` that they come from
UNIQUE = "[0-9a-f]{32}"  # ends the name of a run's folder there
PACKAGES = ("numpy", "scipy", "pillow", "keras", "tensorflow")
Work = Callable[..., None]  # called with the path to write, the inputs and the piece's arguments


class Piece(NamedTuple):
    """A piece of the work: the name of its file, its images in words and number, its arguments."""

    name: str
    about: str
    images: int
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """All that a process needs to do pieces; it can be sent to another machine."""

    work: Work
    inputs: Files
    folder: Folder

    def __call__(self, piece: Piece) -> None:
        """Write the file of a piece."""
        with self.folder.writing(piece.name) as path:
            self.work(path, self.inputs, **piece.arguments)


@contextmanager
def finished(
    work: Work,
    pieces: Sequence[Piece],
    inputs: Mapping[str, Path],
    out: Path,
    *,
    engine: Engine,
    workers: int,
    threads: int = 1,
    state: Any,
) -> Iterator[Path]:
    """Do all pieces and give the folder of their files, which is deleted when all went well.

    Args:
        work: a function of a module (not of the script that is run), called in other processes.
        pieces: what is to be done.
        inputs: the files that `work` reads, by name.
        out: output of the stage; the folder lies beside it.
        engine: where the work is done.
        workers: number of processes on this machine; with 0 it is done in this one.
        threads: processor cores that a piece uses, on Ray.
        state: all that results depend on besides the code: what an earlier run wrote with the same
            is used again. Anything that JSON can hold.

    Raises:
        InputError: what a piece raises, or if processes or machines die again and again.
    """
    beside = out.with_name(f".{out.name}.pieces")
    key = state_digest([work.__qualname__, state])
    for old in beside.glob("*"):
        if old.name != key:
            _empty_storage(old, engine)
            local_folder(old).remove()
    folder = local_folder(beside / key)
    here = Path(folder.url)
    if engine.kind == "ray":
        if engine.storage is not None:
            folder = _in_storage(here, engine, out.name)
        # Its processes run in folders of their own.
        inputs = {name: path.resolve() for name, path in inputs.items()}
    _finish(Task(work, folder.share(inputs), folder), pieces, here, engine, workers, threads)
    yield here
    _empty_storage(here, engine)
    local_folder(beside).remove()


def _in_storage(here: Path, engine: Engine, name: str) -> Folder:
    """Return the folder of a run that was stopped, or one that no other clone has."""
    assert engine.storage is not None, "asked before"
    record, below = here / RECORD, f"{engine.storage.rstrip('/')}/{name}-"
    if not record.is_file() or not re.fullmatch(re.escape(below) + UNIQUE, record.read_text()):
        _empty_storage(here, engine)
        with local_folder(here).writing(RECORD) as partial:
            partial.write_text(below + uuid.uuid4().hex)
    return Folder(record.read_text(), engine.storage_options)


def _empty_storage(here: Path, engine: Engine) -> None:
    """Delete what a run on a cluster, this one or one that was stopped, has in a storage."""
    record = here / RECORD
    if not record.is_file():
        return
    url = record.read_text()
    # Deleted is what a run has made and nothing else, whatever has become of the file.
    if not re.fullmatch(r"[a-z0-9]+://.+-" + UNIQUE, url):
        return
    try:
        Folder(url, engine.storage_options).remove()
    except Exception as error:  # noqa: BLE001  each library has errors of its own
        # The work is done without it.
        print(f"left over from a run on a cluster: {url} ({type(error).__name__}: {error})")


def _finish(
    task: Task,
    pieces: Sequence[Piece],
    here: Path,
    engine: Engine,
    workers: int,
    threads: int,
) -> None:
    brought, written = local_folder(here).names(), task.folder.names()
    total = sum(piece.images for piece in pieces)
    name = here.parent.name.split(".")[1]
    with tqdm(total=total, desc=name, unit="image", disable=None) as progress:

        def arrived(piece: Piece) -> None:
            if piece.name not in brought:
                task.folder.bring(piece.name, here)
            progress.update(piece.images)

        for piece in pieces:
            if piece.name in written or piece.name in brought:
                arrived(piece)
        left = [piece for piece in pieces if piece.name not in written | brought]
        if engine.kind == "ray" and left:
            from stages.engine.cluster import run_on_ray

            results = run_on_ray(task, left, address=engine.address, threads=threads)
            for piece, result in results:
                if isinstance(result, InputError):
                    raise result
                arrived(piece)
        else:
            for piece in run_locally(task, left, workers=workers):
                arrived(piece)


def state_digest(state: Any) -> str:
    """Return a short digest of a state, of the code, and of the packages that compute."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    digest.update(" ".join(map(version, PACKAGES)).encode())
    for path in sorted(CODE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
