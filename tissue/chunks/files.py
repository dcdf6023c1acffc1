"""Files that all processes of a job can reach: by path on a shared file system, else by URL.

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

from fsspec.implementations.local import LocalFileSystem

from tissue.common.filesystems import connect

CODE = Path(__file__).parents[1]  # the package, which is sent to the machines of a cluster
READ_AHEAD = 1 << 20  # bytes; s3fs would read 50 MB, twenty times what is used


class Files(NamedTuple):
    """Absolute paths or URLs of files by name, with the options of fsspec for the URLs."""

    at: dict[str, str]
    options: dict[str, Any]

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading; it is seekable."""
        fs, path = connect(self.at[name], self.options)
        more = {} if isinstance(fs, LocalFileSystem) else {"block_size": READ_AHEAD}
        return fs.open(path, "rb", **more)

    @contextmanager
    def local_copies(self, names: Iterable[str]) -> Iterator[dict[str, Path]]:
        """Yield local paths by name; remote files are copied to one temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for name in names:
                fs, path = connect(self.at[name], self.options)
                paths[name] = Path(path)
                if not isinstance(fs, LocalFileSystem):
                    paths[name] = Path(folder, name)
                    paths[name].parent.mkdir(parents=True, exist_ok=True)
                    fs.get_file(path, str(paths[name]))
            yield paths


class Folder(NamedTuple):
    """A folder for results, on this machine or at a URL of fsspec, with the options of fsspec."""

    url: str
    options: dict[str, Any]

    def finished(self) -> set[str]:
        """Return the names of the files that are complete."""
        fs, path = connect(self.url, self.options)
        if not fs.exists(path):
            return set()
        found = (name.rstrip("/").rpartition("/")[2] for name in fs.ls(path, detail=False))
        return {name for name in found if not name.startswith(".")}

    @contextmanager
    def atomic_write(self, name: str) -> Iterator[Path]:
        """Yield a local path to write to; on success the complete file appears under its name.

        Two processes may write the same file at once.
        """
        fs, path = connect(self.url, self.options)
        hidden = f"{path}/.{uuid.uuid4().hex}.{name}"
        if isinstance(fs, LocalFileSystem):
            try:
                yield Path(hidden)
                Path(hidden).replace(Path(path, name))
            finally:
                Path(hidden).unlink(missing_ok=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder, name)
                # File servers list a file while it is uploaded.
                fs.put_file(str(Path(folder, name)), hidden)
                fs.mv(hidden, f"{path}/{name}")

    def share(self, paths: Mapping[str, Path]) -> Files:
        """Return local files so that all who reach this folder reach them; upload if needed."""
        fs, root = connect(self.url, self.options)
        if isinstance(fs, LocalFileSystem):
            # Processes of a cluster run in folders of their own.
            return Files({name: str(path.resolve()) for name, path in paths.items()}, {})
        for name, path in paths.items():
            target = f"{root}/inputs/{name}"
            if not fs.exists(target) or fs.size(target) != path.stat().st_size:
                fs.put_file(str(path), target)
        return Files({name: f"{self.url}/inputs/{name}" for name in paths}, self.options)

    def copy_to(self, name: str, to: Path) -> None:
        """Copy a file to a local folder, unless this is a local folder itself."""
        fs, path = connect(self.url, self.options)
        if not isinstance(fs, LocalFileSystem):
            partial = to / f".{name}.partial"
            fs.get_file(f"{path}/{name}", str(partial))
            partial.replace(to / name)

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        fs, path = connect(self.url, self.options)
        if isinstance(fs, LocalFileSystem):
            shutil.rmtree(path, ignore_errors=True)
        elif fs.exists(path):
            fs.rm(path, recursive=True)


def local_folder(path: Path) -> Folder:
    """Return a folder on this machine, which is made if it does not exist."""
    path.mkdir(parents=True, exist_ok=True)
    return Folder(os.fspath(path.resolve()), {})
