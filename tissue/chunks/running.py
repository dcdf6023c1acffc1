"""Work that is cut into chunks, each of which writes one file, on this machine or on a cluster.

The file of a chunk depends on its arguments and inputs alone, so that a chunk can run anywhere,
twice, or again after a crash. Files of finished chunks are kept until the stage has succeeded, so
that a stage that was stopped continues where it was.
"""

import hashlib
import itertools
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

from tissue.chunks.cluster import run_on_ray
from tissue.chunks.files import CODE, Files, Folder, local_folder
from tissue.common.errors import InputError
from tissue.common.runtime import process_pool
from tissue.config.schema import Engine

LOCAL_ENGINE = Engine(kind="local", address="auto", storage=None, storage_options={})
ROWS = 64  # per chunk: few enough for all processes to end at about the same time
RECORD = ".storage"  # beside chunks: the URL of the folder in `engine.storage` that holds them
UNIQUE = "[0-9a-f]{32}"  # the end of the name of that folder
PACKAGES = ("numpy", "scipy", "pillow", "opencv-python-headless", "keras", "tensorflow")


class Chunk(NamedTuple):
    """A part of the work: its file, its images in words and number, the arguments for them."""

    name: str
    about: str
    images: int
    arguments: dict[str, Any]


class Work(NamedTuple):
    """Work that is cut into chunks.

    Attributes:
        function: called with the path to write, the inputs as `Files`, and the arguments of the
            chunk. Other processes import it, so it must not be in a module that runs as a script.
        chunks: all of them.
        inputs: the files that `function` reads, by name.
        state: everything that results depend on besides the code, as JSON: results of an earlier
            run with the same state are used again.
    """

    function: Callable[..., None]
    chunks: Sequence[Chunk]
    inputs: Mapping[str, Path]
    state: Any


@dataclass(frozen=True)
class Task:
    """All that a process needs to do a chunk; it can be sent to another machine."""

    function: Callable[..., None]
    inputs: Files
    folder: Folder

    def __call__(self, chunk: Chunk) -> None:
        """Write the file of a chunk."""
        with self.folder.atomic_write(chunk.name) as path:
            self.function(path, self.inputs, **chunk.arguments)


@contextmanager
def run_chunks(
    work: Work, out: Path, engine: Engine, *, workers: int, threads: int = 1
) -> Iterator[Path]:
    """Do all chunks and yield the folder of their files, which is deleted on success.

    Args:
        work: what to do.
        out: output of the stage; the folder is beside it.
        engine: where the work is done.
        workers: processes on this machine; 0 works in this process.
        threads: processor cores that a chunk uses on Ray.

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
    here = Path(folder.url)
    if engine.kind == "ray" and engine.storage is not None:
        folder = _storage_folder(here, f"{engine.storage.rstrip('/')}/{out.name}-", engine)
    task = Task(work.function, folder.share(work.inputs), folder)
    total = sum(chunk.images for chunk in work.chunks)
    with tqdm(total=total, desc=out.name, unit="image", disable=None) as progress:
        for chunk in _finish(task, work.chunks, here, engine, workers, threads):
            progress.update(chunk.images)
    yield here
    _empty_storage(here, engine)
    local_folder(beside).remove()


def _storage_folder(here: Path, prefix: str, engine: Engine) -> Folder:
    """Return the folder of the run that was stopped here, else a new one with a unique name."""
    record = here / RECORD
    if not record.is_file() or not re.fullmatch(
        re.escape(prefix) + UNIQUE, record.read_text(encoding="ascii")
    ):
        _empty_storage(here, engine)
        with local_folder(here).atomic_write(RECORD) as partial:
            partial.write_text(prefix + uuid.uuid4().hex, encoding="ascii", newline="\n")
    return Folder(record.read_text(encoding="ascii"), engine.storage_options)


def _empty_storage(here: Path, engine: Engine) -> None:
    """Delete the folder in a storage that this run, or one that was stopped, has made."""
    record = here / RECORD
    url = record.read_text(encoding="ascii") if record.is_file() else ""
    # A damaged record must not delete anything else.
    if not re.fullmatch(r"[a-z0-9]+://.+-" + UNIQUE, url):
        return
    try:
        Folder(url, engine.storage_options).remove()
    except Exception as error:  # noqa: BLE001  each library has errors of its own
        # The results are complete without it.
        print(f"left over from a run on a cluster: {url} ({type(error).__name__}: {error})")


def _finish(
    task: Task, chunks: Sequence[Chunk], here: Path, engine: Engine, workers: int, threads: int
) -> Iterator[Chunk]:
    """Do the chunks without a file, and yield every chunk once its file is in the folder `here`."""
    downloaded = local_folder(here).finished()
    written = downloaded | task.folder.finished()
    kept = [chunk for chunk in chunks if chunk.name in written]
    left = [chunk for chunk in chunks if chunk.name not in written]
    if engine.kind == "ray":
        done = _run_on_cluster(task, left, engine.address, threads)
    else:
        done = run_locally(task, left, workers=workers)
    for chunk in itertools.chain(kept, done):
        if chunk.name not in downloaded:
            task.folder.copy_to(chunk.name, here)
        yield chunk


def state_digest(state: Any) -> str:
    """Return a short digest of a state, of our code, and of the packages that compute."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    digest.update(" ".join(map(version, PACKAGES)).encode())
    for path in sorted(CODE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _run_on_cluster(
    task: Task, chunks: Sequence[Chunk], address: str, threads: int
) -> Iterator[Chunk]:
    if chunks:  # no cluster is needed for none
        for chunk, result in run_on_ray(task, chunks, address=address, threads=threads):
            if isinstance(result, InputError):
                raise result
            yield chunk


def run_locally(
    task: Callable[[Chunk], None], chunks: Sequence[Chunk], *, workers: int
) -> Iterator[Chunk]:
    """Do chunks and yield each when it is done.

    When the system kills a process, as it does when memory is short, half as many processes do the
    chunks that are left, and at last one.

    Raises:
        InputError: what a chunk raises, or if a chunk alone has its process killed.
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
                        "that the system ended there, perhaps because memory is short or an image "
                        "is enormous. Lower advanced.split.max_pixels, or take the image out."
                    ) from None
                workers //= 2
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
