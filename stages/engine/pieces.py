"""Work cut into pieces, each of which writes one file: on this machine or on a cluster.

What a piece writes depends on its arguments and inputs alone, so it may be done anywhere, twice, or
again after something died. Files that are whole stay until the stage has ended well, and are not
made again when it is started anew after it was stopped.
"""

import hashlib
import json
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

    def place(key: str) -> Folder:
        """Where all machines reach the pieces with this key."""
        if engine.kind == "ray" and engine.storage is not None:
            return Folder(
                f"{engine.storage.rstrip('/')}/{out.name}-{_clone(out)}-{key}",
                engine.storage_options,
            )
        return local_folder(beside / key)

    for old in beside.glob("*"):
        if old.name != key:
            place(old.name).remove()
            local_folder(old).remove()
    here, folder = local_folder(beside / key), place(key)
    if engine.kind == "ray":  # whose processes run in folders of their own
        inputs = {name: path.resolve() for name, path in inputs.items()}
    _finish(
        Task(work, folder.share(inputs), folder), pieces, Path(here.url), engine, workers, threads
    )
    yield Path(here.url)
    folder.remove()
    local_folder(beside).remove()


def _clone(out: Path) -> str:
    # Another clone may use the same storage for the same work, and empties its folder at the end.
    where = f"{uuid.getnode()}:{out.resolve()}"
    return hashlib.sha256(where.encode()).hexdigest()[:8]


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
