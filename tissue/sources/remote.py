"""Sources elsewhere, downloaded to this machine: from then on they are folders and archives."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec import AbstractFileSystem
from tqdm import tqdm

from tissue.common.errors import InputError, is_disk_full
from tissue.common.filesystems import connect, read_error
from tissue.config.fetch import Fetch
from tissue.sources.archives import is_archive
from tissue.sources.cache import CachedFile, DownloadCache, retry
from tissue.sources.file_names import is_hidden, is_image
from tissue.sources.local import check_digests
from tissue.sources.remote_folders import WEB, Info, list_files, open_pages
from tissue.sources.web import TIMEOUT, archive_name, download, open_session

GDRIVE = "gdrive:"
GDRIVE_RETRIES = 5
# What file systems call the version of a file, surest first.
VERSIONS = (
    "ETag", "etag", "md5Hash", "content_md5",
    "LastModified", "last_modified", "updated", "mtime", "created",
)  # fmt: skip
CONCURRENT = 8  # downloads
CHUNK = 1 << 22  # bytes


def download_sources(sources: Sequence[str], settings: Fetch) -> list[Path]:
    """Download what is remote among `sources`, and return the local paths of all.

    Raises:
        InputError: if something cannot be downloaded, or does not have the digest it should have.
    """
    sources = [_lower_scheme(source) for source in sources]
    in_storage = [one for one in sources if "://" in one and not one.startswith(WEB)]
    if settings.storage_options and not in_storage:
        raise InputError(
            "advanced.fetch.storage_options: expected none without a source in a bucket or on a "
            "file "
            f"server, which alone use them. Received: {', '.join(settings.storage_options)}, with "
            f"{', '.join(sources)}. Take them out of params.yaml."
        )
    # In one order, or two runs with the same sources would each wait for the other one for ever.
    for source in sorted({one for one in sources if "://" in one or one.startswith(GDRIVE)}):
        DownloadCache(Path(settings.cache), source, most=0)
    paths: list[Path] = []
    for source in sources:
        if source.startswith(GDRIVE):
            found = download_shared(source, cache=Path(settings.cache))
        elif "://" in source:
            found = [_download_url(source, settings)]
        else:
            paths.append(Path(source))
            continue
        files = (file for path in found for file in (path, *sorted(path.rglob("*"))))
        # A file with a wrong digest would be taken for one that is already there.
        check_digests(filter(is_archive, files), settings.sha256, remove=True)
        paths += found
    return paths


def _lower_scheme(source: str) -> str:
    """Return a remote address with its scheme in lower case, and a local path as it is."""
    scheme, colon, rest = source.partition(":")
    lower = f"{scheme.lower()}{colon}{rest}"
    return lower if "://" in source or lower.startswith(GDRIVE) else source


def _download_url(url: str, settings: Fetch) -> Path:
    """Download an archive or folder, and return its path in the cache."""
    cache = DownloadCache(Path(settings.cache), url, most=settings.limits.archive_bytes)
    # The last part of the address names the folder or archive, as it would on this machine.
    parts = urlsplit(url)
    name = unquote(parts.path).rstrip("/").rpartition("/")[2] or parts.netloc
    on_web = url.startswith(WEB)
    if on_web and not is_archive(Path(name)) and not parts.path.endswith("/"):
        with open_session() as session:
            name = archive_name(session, url) or name
    if on_web and is_archive(Path(name)):
        _download_from_web([({"name": url}, cache.file(name))])
        return cache.files / name
    fs, root = connect(url, {"get_client": open_pages} if on_web else settings.storage_options)
    files: list[tuple[Info, CachedFile]] = []
    for path, info in list_files(fs, root, url=url).items():
        if is_image(f"{name}/{path}") or (is_archive(Path(path)) and not is_hidden(path)):
            below = f"{name}/{unquote(path) if on_web else path}"
            files.append((info, cache.file(name if is_archive(Path(name)) else below)))
    if not files:
        raise InputError(f"{url}: expected images or archives. Received: none there.")
    cache.keep_only({target.path for _, target in files})
    if on_web:
        _download_from_web(files)
    else:
        download_all(fs, files, url=url)
    return cache.files / name


def _download_from_web(files: Sequence[tuple[Info, CachedFile]]) -> None:
    with open_session() as session:
        for info, target in tqdm(files, desc="download", unit="file", disable=None):
            if not download(session, info["name"], target):
                raise InputError(
                    f"{info['name']}: expected a file. Received: HTTP status 404 or 410."
                )


def download_shared(source: str, *, cache: Path) -> list[Path]:
    """Download a shared file or folder of Google Drive; return its archives, or its folder.

    Drive gives neither sizes nor versions without an account: a file that is there is taken to be
    complete and unchanged, and an interrupted download is resumed.

    Raises:
        InputError: if gdown is not installed, or Drive refuses the file.
    """
    try:
        import gdown  # optional, and slow to import
    except ImportError as error:
        raise InputError(
            f"{source}: expected gdown to be installed. Received: {error}. "
            "Run: pip install -r requirements/gdrive.txt."
        ) from None
    folder = DownloadCache(cache, source, most=0).files  # gdown writes the files itself
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _download_from_drive(gdown, source.removeprefix(GDRIVE).strip("/"), folder)
    except Exception as error:  # gdown raises errors of its own and of what it is built on
        if is_disk_full(error):
            raise
        raise InputError(
            f"{source}: expected a file or folder shared with anyone who has the link. Received: "
            f"{error}. Check the id; after many downloads in a day Drive refuses, try tomorrow."
        ) from error
    return _archives_or_folder(source, folder)


def _download_from_drive(gdown: Any, id_: str, folder: Path) -> None:
    options = {"id": id_, "output": f"{folder}/", "resume": True, "quiet": True}
    options |= {"retries": GDRIVE_RETRIES, "timeout": TIMEOUT}
    # Both kinds of id look alike: what cannot be listed as a folder is a file.
    try:
        gdown.download_folder(skip_download=True, **options)
    except gdown.exceptions.DownloadError:
        gdown.download(**options)
    else:
        gdown.download_folder(**options)


def _archives_or_folder(source: str, shared: Path) -> list[Path]:
    entries = sorted(path for path in shared.iterdir() if path.suffix != ".part")
    archives = [path for path in entries if is_archive(path)]
    found = archives or [path for path in entries if path.is_dir()]
    if not found:
        names = ", ".join(path.name for path in entries) or "nothing"
        raise InputError(
            f"{source}: expected a folder or an archive (.zip, .tar, .tar.gz). Received: {names}."
        )
    return found


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
