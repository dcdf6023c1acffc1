"""Files that every process of a job reaches: by path where they share a file system, else by URL.

URLs are those of fsspec, such as s3://bucket/folder.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from fsspec import AbstractFileSystem

from tissue.common.filesystems import connect

CODE = Path(__file__).parents[1]  # the package, which cluster machines are sent
READ_AHEAD = 1 << 20  # bytes


class Files(NamedTuple):
    """Files by name; it can be sent to another machine.

    `at` holds absolute paths or URLs, `options` what fsspec wants to know of the latter.
    """

    at: dict[str, str]
    options: dict[str, Any]

    def open(self, name: str) -> IO[bytes]:
        """Open a file to be read from any place."""
        fs, path = connect(self.at[name], self.options)
        if is_local(fs):
            return fs.open(path, "rb")
        # The 50 MB that s3fs would read ahead are twenty times what is asked for.
        return fs.open(path, "rb", block_size=READ_AHEAD)

    @contextmanager
    def here(self, names: Iterable[str]) -> Iterator[dict[str, Path]]:
        """Give paths on this machine, of copies in one folder where files lie elsewhere."""
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for name in names:
                fs, path = connect(self.at[name], self.options)
                paths[name] = Path(path)
                if not is_local(fs):
                    paths[name] = Path(folder, name)
                    paths[name].parent.mkdir(parents=True, exist_ok=True)
                    fs.get_file(path, str(paths[name]))
            yield paths


class Folder(NamedTuple):
    """Where results are written: a folder on this machine, or one that a URL names."""

    url: str
    options: dict[str, Any]

    def names(self) -> set[str]:
        """Return the names of the files that are whole."""
        fs, path = connect(self.url, self.options)
        if not fs.exists(path):
            return set()
        found = (name.rstrip("/").rpartition("/")[2] for name in fs.ls(path, detail=False))
        return {name for name in found if not name.startswith(".")}

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a path to write to; on success the file appears under its name, whole.

        Two processes may write the same file at once.
        """
        fs, path = connect(self.url, self.options)
        if is_local(fs):
            partial = Path(path, f".{uuid.uuid4().hex}.{name}")
            try:
                yield partial
                partial.replace(Path(path, name))
            finally:
                partial.unlink(missing_ok=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder, name)
                # A file server shows what is only half there.
                partial_name = f"{path}/.{uuid.uuid4().hex}.{name}"
                fs.put_file(str(Path(folder, name)), partial_name)
                fs.mv(partial_name, f"{path}/{name}")

    def share(self, paths: Mapping[str, Path]) -> Files:
        """Return files such that processes which reach this folder reach them, copied if needed."""
        fs, root = connect(self.url, self.options)
        if is_local(fs):
            return Files({name: str(path) for name, path in paths.items()}, {})
        for name, path in paths.items():
            target = f"{root}/inputs/{name}"
            if not fs.exists(target) or fs.size(target) != path.stat().st_size:
                fs.put_file(str(path), target)
        return Files({name: f"{self.url}/inputs/{name}" for name in paths}, self.options)

    def bring(self, name: str, folder: Path) -> None:
        """Copy a file into a folder on this machine, unless this is that folder."""
        fs, path = connect(self.url, self.options)
        if is_local(fs):
            return
        partial = folder / f".{name}.partial"
        fs.get_file(f"{path}/{name}", str(partial))
        partial.replace(folder / name)

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        fs, path = connect(self.url, self.options)
        if is_local(fs):
            shutil.rmtree(path, ignore_errors=True)
        elif fs.exists(path):
            fs.rm(path, recursive=True)


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether a file system is that of this machine."""
    return "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)


def local_folder(path: Path) -> Folder:
    """Return a folder on this machine, which is made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return Folder(os.fspath(path.resolve()), {})
