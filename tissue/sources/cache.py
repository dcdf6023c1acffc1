"""Where downloads wait until they are whole, so that an interrupted one goes on where it stopped.

The cache lies outside of the outputs of DVC, which are emptied before a stage runs. A file appears
under its name when it is complete; until then its bytes stand elsewhere, next to the version of the
remote file that they are of, so that the halves of two versions are never joined.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tissue.common.errors import InputError


class IncompleteError(OSError):
    """Fewer or more bytes arrived than were announced."""


@dataclass(frozen=True)
class Slot:
    """The place of one remote file: `path` once it is whole, files named after `state` before."""

    path: Path
    state: Path

    @property
    def partial(self) -> Path:
        """The bytes that have arrived of a file that is not whole."""
        return self.state.with_suffix(".partial")

    def resumable(self) -> tuple[int, str]:
        """Return how many bytes have arrived, and the version that they are of."""
        version = _read(self.state.with_suffix(".version"))
        if not version or not self.partial.is_file():
            return 0, ""
        return self.partial.stat().st_size, version

    def current(self) -> str:
        """Return the version of the whole file, empty if there is none."""
        return _read(self.state.with_suffix(".whole")) if self.path.is_file() else ""

    def restart(self, version: str) -> None:
        """Forget what has arrived; what comes next is of this version, empty if unknown."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        self.partial.unlink(missing_ok=True)
        self.state.with_suffix(".version").write_text(version, encoding="utf-8")

    def finish(self, version: str, size: int | None) -> None:
        """Put the whole file in its place.

        Raises:
            IncompleteError: if its size is not the one that was announced.
        """
        received = self.partial.stat().st_size
        if size is not None and received != size:
            if received > size:
                self.partial.unlink()
            raise IncompleteError(f"{received} bytes, where {size} were announced")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # In this order a kill between two lines leads to one more download, never to a wrong file.
        self.state.with_suffix(".whole").unlink(missing_ok=True)
        self.partial.replace(self.path)
        self.state.with_suffix(".whole").write_text(version, encoding="utf-8")
        self.state.with_suffix(".version").unlink(missing_ok=True)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


@dataclass(frozen=True)
class Shelf:
    """The part of the cache that belongs to one source."""

    root: Path

    @classmethod
    def of(cls, cache: Path, source: str) -> "Shelf":
        """Return the shelf of a source."""
        return cls(cache / hashlib.sha256(source.encode()).hexdigest()[:16])

    @property
    def files(self) -> Path:
        """The folder of the whole files."""
        return self.root / "files"

    def slot(self, name: str) -> Slot:
        """Return the place of a file.

        Args:
            name: relative path with `/`, as the server gives it.

        Raises:
            ValueError: if the name leads out of the shelf.
        """
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise InputError(
                f"{name!r}: expected the relative path of a file. Received: a name that leads out "
                "of the download cache. Do not use this source, or rename the file there."
            )
        digest = hashlib.sha256(path.as_posix().encode()).hexdigest()
        return Slot(self.files / path, self.root / "state" / digest)

    def keep_only(self, paths: set[Path]) -> None:
        """Remove whole files that are no longer at the source."""
        for path in sorted(self.files.rglob("*")):
            if path.is_file() and path not in paths:
                path.unlink()
