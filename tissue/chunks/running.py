"""Work cut into chunks, each of which writes one file: on this machine or on a cluster.

What a chunk writes depends on its arguments and inputs alone, so it may be done anywhere, twice, or
again after something died. Files that are whole stay until the stage has ended well, and are not
made again when it is started anew after it was stopped.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from tissue.chunks.files import CODE, Files, Folder, local_folder
from tissue.common.errors import InputError
from tissue.common.runtime import process_pool
from tissue.config.schema import Engine

LOCAL_ENGINE = Engine(kind="local", address="auto", storage=None, storage_options={})
ROWS = 64  # of a chunk: few enough for all processes to end at about the same time
RECORD = ".storage"  # beside chunks: the URL of the folder in `engine.storage` that they come from
UNIQUE = "[0-9a-f]{32}"  # ends the name of a run's folder there
PACKAGES = ("numpy", "scipy", "pillow", "keras", "tensorflow")


class Chunk(NamedTuple):
    """A part of the work: the name of its file, its images in words and number, its arguments."""

    name: str
    about: str
    images: int
    arguments: dict[str, Any]


class Work(NamedTuple):
    """Work that is cut into chunks.

    Attributes:
        function: of a module that is not run as a script, since other processes call it: with the
            path to write, the inputs as `Files`, and the arguments of the chunk.
        chunks: all of them.
        inputs: the files that `function` reads, by name.
        state: everything that results depend on besides the code, which JSON can hold: what an
            earlier run wrote with the same state is used again.
    """

    function: Callable[..., None]
    chunks: Sequence[Chunk]
    inputs: Mapping[str, Path]
    state: Any


@dataclass(frozen=True)
class Task:
    """All that a process needs to do chunks; it can be sent to another machine."""

    function: Callable[..., None]
    inputs: Files
    folder: Folder

    def __call__(self, chunk: Chunk) -> None:
        """Write the file of a chunk."""
        with self.folder.writing(chunk.name) as path:
            self.function(path, self.inputs, **chunk.arguments)


@contextmanager
def run_chunks(
    work: Work, out: Path, engine: Engine, *, workers: int, threads: int = 1
) -> Iterator[Path]:
    """Do all chunks and yield the folder of their files, which is deleted if all goes well.

    Args:
        work: what is to be done.
        out: output of the stage; the folder lies beside it.
        engine: where the work is done.
        workers: number of processes on this machine; 0 does it in this process.
        threads: processor cores that a chunk uses, on Ray.

    Raises:
        InputError: what a chunk raises, or if processes or machines die again and again.
    """
    beside = out.with_name(f".{out.name}.chunks")
    key = state_digest([work.function.__qualname__, work.state])
    for old in beside.glob("*"):
        if old.name != key:
            _empty_storage(old, engine)
            local_folder(old).remove()
    folder = local_folder(beside / key)
    here, inputs = Path(folder.url), work.inputs
    if engine.kind == "ray":
        if engine.storage is not None:
            folder = _in_storage(here, engine, out.name)
        # Processes of the cluster run in folders of their own.
        inputs = {name: path.resolve() for name, path in inputs.items()}
    task = Task(work.function, folder.share(inputs), folder)
    _finish(task, work.chunks, here, engine, workers, threads)
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
    chunks: Sequence[Chunk],
    here: Path,
    engine: Engine,
    workers: int,
    threads: int,
) -> None:
    brought, written = local_folder(here).names(), task.folder.names()
    total = sum(chunk.images for chunk in chunks)
    name = here.parent.name.split(".")[1]
    with tqdm(total=total, desc=name, unit="image", disable=None) as progress:

        def arrived(chunk: Chunk) -> None:
            if chunk.name not in brought:
                task.folder.bring(chunk.name, here)
            progress.update(chunk.images)

        for chunk in chunks:
            if chunk.name in written or chunk.name in brought:
                arrived(chunk)
        left = [chunk for chunk in chunks if chunk.name not in written | brought]
        if engine.kind == "ray" and left:
            from tissue.chunks.cluster import run_on_ray

            results = run_on_ray(task, left, address=engine.address, threads=threads)
            for chunk, result in results:
                if isinstance(result, InputError):
                    raise result
                arrived(chunk)
        else:
            for chunk in run_locally(task, left, workers=workers):
                arrived(chunk)


def state_digest(state: Any) -> str:
    """Return a short digest of a state, of the code, and of the packages that compute."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    digest.update(" ".join(map(version, PACKAGES)).encode())
    for path in sorted(CODE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def run_locally(
    task: Callable[[Any], None], chunks: Sequence[Chunk], *, workers: int
) -> Iterator[Chunk]:
    """Do chunks and give each as it is done.

    When the system ends a process, as it does when memory runs out, what is left is done by half
    as many, and at last by one.

    Raises:
        InputError: what a chunk raises, or if a chunk alone has its process ended.
    """
    if not workers:
        for chunk in chunks:
            task(chunk)
            yield chunk
        return
    left = {chunk.name: chunk for chunk in chunks}
    while left:
        with process_pool(workers) as pool:
            futures = {pool.submit(task, chunk): chunk for chunk in left.values()}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield left.pop(futures[future].name)
            except BrokenProcessPool:
                if workers == 1:
                    raise InputError(
                        f"expected to read {next(iter(left.values())).about}. Received: a process "
                        "that the system ended there. Is memory short, or an image enormous? "
                        "Lower split.max_pixels, or take the image out."
                    ) from None
                workers = max(1, workers // 2)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
