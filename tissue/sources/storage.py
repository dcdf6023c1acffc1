"""Files in buckets, on file servers and elsewhere, through fsspec; downloads can be resumed.

Credentials come from where each library looks for them: environment variables, `~/.aws`,
`~/.ssh`, the command line tools of the clouds. None of them belongs into params.yaml.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fsspec import AbstractFileSystem
from tqdm import tqdm

from tissue.common.errors import InputError, is_disk_full
from tissue.common.filesystems import read_error
from tissue.sources.cache import Slot
from tissue.sources.web import progress_bar

# What file systems call the mark of a version, surest first.
VERSIONS = (
    "ETag", "etag", "md5Hash", "content_md5",
    "LastModified", "last_modified", "updated", "mtime", "created",
)  # fmt: skip
ATTEMPTS = 4
BACK_OFF = 1.0  # seconds before the second attempt, doubled before each further one
AT_ONCE = 8  # downloads
PIECE = 1 << 22  # bytes
Info = dict[str, Any]


def list_files(fs: AbstractFileSystem, root: str, *, url: str) -> dict[str, Info]:
    """Return what is known of the file `root`, or of all files below it, by relative path.

    Raises:
        ValueError: if there is none, or it cannot be listed.
    """
    try:
        found = fs.find(root, detail=True)
    except Exception as error:  # each library has errors of its own
        raise read_error(url, error) from error
    if not found:
        raise InputError(f"{url}: expected a file or a folder with files. Received: none there.")
    start = root.rstrip("/")
    return {
        path.removeprefix(start).lstrip("/") or path.rpartition("/")[2]: {**info, "name": path}
        for path, info in sorted(found.items())
        if info.get("type", "file") == "file"
    }


def download_all(
    fs: AbstractFileSystem, files: Mapping[str, Info], slots: Mapping[str, Slot], *, url: str
) -> None:
    """Bring files into their slots; those that are there and have not changed are left.

    Raises:
        ValueError: if a file cannot be read in several attempts.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(_download, fs, info, slots[name]) for name, info in files.items()]
        try:
            for task in tqdm(tasks, desc="download", unit="file", disable=None):
                task.result()
        except Exception as error:
            if is_disk_full(error):
                raise
            raise read_error(url, error) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _download(fs: AbstractFileSystem, info: Info, slot: Slot) -> None:
    version = _version(info)
    if version and slot.current() == version:
        return
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(fs, info, slot, version)
            return
        except Exception as error:
            missing = isinstance(error, (FileNotFoundError, PermissionError))
            if missing or is_disk_full(error) or attempt == ATTEMPTS:
                raise
            time.sleep(BACK_OFF * 2 ** (attempt - 1))


def _transfer(fs: AbstractFileSystem, info: Info, slot: Slot, version: str) -> None:
    offset, known = slot.resumable()
    if not version or known != version:
        offset = 0
        slot.restart(version)
    size = info.get("size")
    with (
        # Read in large pieces from front to back; a cache of blocks would only cost memory.
        fs.open(info["name"], "rb", cache_type="none") as remote,
        slot.partial.open("ab" if offset else "wb") as file,
        progress_bar(slot.path.name, offset, size) as progress,
    ):
        if offset:
            remote.seek(offset)
        while piece := remote.read(PIECE if size is None else min(PIECE, size - offset)):
            file.write(piece)
            offset += len(piece)
            progress.update(len(piece))
    slot.finish(version, size)


def _version(info: Info) -> str:
    mark = next((info[key] for key in VERSIONS if info.get(key)), None)
    return f"{mark} {info.get('size')}" if mark else ""
