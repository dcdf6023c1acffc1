"""Files in buckets, on file servers and elsewhere, through fsspec; downloads are resumed.

Credentials come from where each library looks for them: environment variables, `~/.aws`,
`~/.ssh`, the command line tools of the clouds. None of them belongs in params.yaml.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from fsspec import AbstractFileSystem
from tqdm import tqdm

from tissue.common.errors import InputError, is_disk_full
from tissue.common.filesystems import read_error
from tissue.sources.cache import CachedFile, retry

# What file systems call the version of a file, surest first.
VERSIONS = (
    "ETag", "etag", "md5Hash", "content_md5",
    "LastModified", "last_modified", "updated", "mtime", "created",
)  # fmt: skip
CONCURRENT = 8  # downloads
CHUNK = 1 << 22  # bytes
Info = Mapping[str, Any]


def list_files(fs: AbstractFileSystem, root: str, *, url: str) -> dict[str, Info]:
    """Return what is known of the file `root`, or of all files below it, by relative path.

    Raises:
        InputError: if there is none, or it cannot be listed.
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
    fs: AbstractFileSystem, files: Sequence[tuple[Info, CachedFile]], *, url: str
) -> None:
    """Download files to the cache, unless they are there already and have not changed.

    Raises:
        InputError: if a file cannot be read in several attempts.
    """
    with ThreadPoolExecutor(CONCURRENT) as pool:
        tasks = [pool.submit(_download, fs, info, target) for info, target in files]
        try:
            for task in tqdm(tasks, desc="download", unit="file", disable=None):
                task.result()
        except Exception as error:
            if is_disk_full(error):
                raise
            raise read_error(url, error) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _download(fs: AbstractFileSystem, info: Info, target: CachedFile) -> None:
    mark = next((info[key] for key in VERSIONS if info.get(key)), None)
    version = f"{mark} {info.get('size')}" if mark else ""
    if version and target.version() == version:
        return
    retry(partial(_attempt, fs, info, target, version), target)


def _attempt(fs: AbstractFileSystem, info: Info, target: CachedFile, version: str) -> None:
    offset, known = target.resumable()
    if not version or known != version:
        offset = 0
        target.restart(version)
    # Read in large chunks from front to back; a cache of blocks would only cost memory.
    with fs.open(info["name"], "rb", cache_type="none") as remote:
        if offset:
            remote.seek(offset)
        chunks = iter(lambda: remote.read(CHUNK), b"")
        target.write(chunks, version=version, size=info.get("size"))
