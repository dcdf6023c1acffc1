"""Where downloads wait until they are complete, so that an interrupted one is resumed.

The cache is outside the outputs of DVC, which are emptied before a stage runs. A file gets its
name when it is complete. Until then its bytes are kept elsewhere, with the version of the remote
file that they are of, so that the halves of two versions are never joined.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from filelock import BaseFileLock, FileLock, Timeout
from tqdm import tqdm

from tissue.common.errors import InputError, is_disk_full
from tissue.common.secrets import redact

ATTEMPTS = 6  # in a row without progress
PROGRESS = 1 << 20  # bytes that make an attempt count as progress
BACK_OFF = 1.0  # seconds before the second attempt, doubled before each further one
WINDOW = 120.0  # seconds over which the speed is measured
SLOWEST = 100.0  # bytes per second; less is a server that holds the line
MAX_WAIT = 300.0  # seconds; a server that asks for more is not waited for
HELD: dict[Path, BaseFileLock] = {}  # locks of this process
FINAL = (InputError, FileNotFoundError, PermissionError)
Result = TypeVar("Result")


class IncompleteError(OSError):
    """A file did not arrive whole; `wait` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class CachedFile:
    """A remote file: at `path` once it is complete, in files named after `state` before."""

    path: Path
    state: Path
    most: int  # bytes that it may have

    @property
    def _partial(self) -> Path:
        return self.state.with_suffix(".partial")

    def resumable(self) -> tuple[int, str]:
        """Return how many bytes have arrived, and the version that they are of."""
        version = _read(self.state.with_suffix(".version"))
        if not version or not self._partial.is_file():
            return 0, ""
        return self._partial.stat().st_size, version

    def version(self) -> str:
        """Return the version of the complete file, empty if there is none."""
        return _read(self.state.with_suffix(".whole")) if self.path.is_file() else ""

    def restart(self, version: str) -> None:
        """Forget what has arrived; what comes next is of this version, empty if unknown."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        self._partial.unlink(missing_ok=True)
        self.state.with_suffix(".version").write_text(version, encoding="utf-8", newline="\n")

    def write(self, chunks: Iterable[bytes], *, version: str, size: int | None) -> None:
        """Append chunks to what has arrived, with a progress bar, and give the file its name.

        Raises:
            IncompleteError: if the size is not the one that was announced, or the chunks come too
                slowly to ever be complete.
            InputError: if it is larger than a file may be.
        """
        self._check_size(size or 0)
        offset, _ = self.resumable()
        progress = tqdm(
            desc=self.path.name, initial=offset, total=size, unit="B", unit_scale=True,
            unit_divisor=1024, delay=2, leave=False, disable=None,
        )  # fmt: skip
        with self._partial.open("ab") as file, progress:
            since, arrived = time.monotonic(), 0
            for chunk in chunks:
                file.write(chunk)
                progress.update(len(chunk))
                offset, arrived = offset + len(chunk), arrived + len(chunk)
                self._check_size(offset)
                if (seconds := time.monotonic() - since) > WINDOW:
                    if arrived < SLOWEST * seconds:
                        raise IncompleteError(f"{arrived} bytes in {seconds:.0f} s")
                    since, arrived = time.monotonic(), 0
        received = self._partial.stat().st_size
        if size is not None and received != size:
            if received > size:
                self._partial.unlink()
            raise IncompleteError(f"{received} bytes, where {size} were announced")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # In this order a kill between two lines leads to one more download, never to a wrong file.
        self.state.with_suffix(".whole").unlink(missing_ok=True)
        self._partial.replace(self.path)
        self.state.with_suffix(".whole").write_text(version, encoding="utf-8", newline="\n")
        self.state.with_suffix(".version").unlink(missing_ok=True)

    def _check_size(self, size: int) -> None:
        if size > self.most:
            self.restart("")
            raise InputError(
                f"{self.path.name}: expected at most {self.most} bytes "
                f"(advanced.fetch.limits.archive_bytes). Received: {size} or more. Raise the limit "
                "if you trust the source."
            )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def retry(
    download: Callable[[], Result], target: CachedFile, *, final: tuple[type[Exception], ...] = ()
) -> Result:
    """Return what `download` returns; after an error, wait and call it again.

    An error is raised again if it is `final`, after several attempts in a row without progress, or
    if the server asks for a long wait.
    """
    failures = 0
    while True:
        before, _ = target.resumable()
        try:
            return download()
        except Exception as error:
            progress = target.resumable()[0] >= before + PROGRESS
            failures = 1 if progress else failures + 1
            wait = error.wait if isinstance(error, IncompleteError) else 0.0
            hopeless = isinstance(error, (*FINAL, *final)) or is_disk_full(error)
            if hopeless or failures == ATTEMPTS or wait > MAX_WAIT:
                raise
            # Jitter keeps several clients from coming back all at once.
            time.sleep(max(wait, BACK_OFF * 2 ** (failures - 1) * random.uniform(1, 1.25)))


def _lock(root: Path, source: str) -> None:
    """Keep other processes off a part of the cache until this one ends, however it does."""
    root.mkdir(parents=True, exist_ok=True)
    # The system frees a lock with its process; before, it would be freed with the object.
    if (path := root.resolve() / "lock") in HELD:
        return
    lock = HELD[path] = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"fetch: waiting for another run that downloads {redact(source)} to {root}")
        lock.acquire()


class DownloadCache:
    """The part of the cache that belongs to one source; complete files are in `files`.

    No other process can use it until this one ends. A file may have at most `most` bytes.
    """

    def __init__(self, cache: Path, source: str, *, most: int) -> None:
        root = cache / hashlib.sha256(source.encode()).hexdigest()[:16]
        self.files, self._state, self._most = root / "files", root / "state", most
        _lock(root, source)

    def file(self, name: str) -> CachedFile:
        """Return the file with a name, which is a relative path with `/` as the server gives it.

        Raises:
            InputError: if the name leads out of the cache.
        """
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise InputError(
                f"{name!r}: expected the relative path of a file. Received: a name that leads out "
                "of the download cache. Do not use this source, or rename the file there."
            )
        digest = hashlib.sha256(path.as_posix().encode()).hexdigest()
        return CachedFile(self.files / path, self._state / digest, self._most)

    def keep_only(self, paths: set[Path]) -> None:
        """Remove files that are no longer at the source."""
        for path in list(self.files.rglob("*")):
            if path.is_file() and path not in paths:
                path.unlink()
