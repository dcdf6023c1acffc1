"""Sources elsewhere, brought to this machine: from then on they are folders and archives."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from tissue.common.errors import InputError, is_disk_full
from tissue.common.filesystems import connect
from tissue.config.schema import Fetch
from tissue.sources import storage
from tissue.sources.archives import check_digest, is_archive
from tissue.sources.cache import Shelf, Slot
from tissue.sources.layout import is_hidden, is_image
from tissue.sources.web import download, open_session

WEB = ("http://", "https://")


def is_remote(source: str) -> bool:
    """Whether a source has to be downloaded."""
    return "://" in source or _lower_scheme(source).startswith("gdrive:")


def _lower_scheme(source: str) -> str:
    scheme, colon, rest = source.partition(":")
    return f"{scheme.lower()}{colon}{rest}"


def download_sources(sources: Iterable[str], settings: Fetch) -> list[str]:
    """Download what is remote among `sources`, and return the local paths of all.

    Raises:
        ValueError: if something cannot be downloaded, or has not the digest it should have.
    """
    sources = [_lower_scheme(source) if is_remote(source) else source for source in sources]
    _check_options(sources, settings)
    paths: list[str] = []
    for source in sources:
        if not is_remote(source):
            paths.append(source)
            continue
        found = (
            download_shared(source, cache=Path(settings.cache))
            if source.startswith("gdrive:")
            else [_bring_url(source, settings)]
        )
        _check_digests(found, settings.sha256)
        paths += map(str, found)
    return paths


def _check_options(sources: Iterable[str], settings: Fetch) -> None:
    remote = [source for source in sources if is_remote(source)]
    heeding = [
        source for source in remote if not (source.startswith(WEB) or source.startswith("gdrive:"))
    ]
    if settings.storage_options and not heeding:
        raise InputError(
            "fetch.storage_options: expected none without a source in a bucket or on a file "
            f"server, which alone heed them. Received: {', '.join(settings.storage_options)}, with "
            f"{', '.join(sources)}. Take them out of params.yaml."
        )


def _bring_url(url: str, settings: Fetch) -> Path:
    shelf = Shelf.of(Path(settings.cache), url)
    # The last part of the address names the folder or archive, as it would on this machine.
    parts = urlsplit(url)
    name = unquote(parts.path).rstrip("/").rpartition("/")[2] or parts.netloc
    if is_archive(Path(name)) and url.startswith(WEB):
        _download_web({name: url}, {name: shelf.slot(name)})
        return shelf.files / name
    options = {} if url.startswith(WEB) else settings.storage_options
    fs, root = connect(url, options)
    files = {
        path: info
        for path, info in storage.list_files(fs, root, url=url).items()
        if is_image(f"{name}/{path}") or (is_archive(Path(path)) and not is_hidden(path))
    }
    if not files:
        raise InputError(f"{url}: expected images or archives. Received: none there.")
    if is_archive(Path(name)):
        slots = {name: shelf.slot(name)}
    else:
        slots = {path: shelf.slot(f"{name}/{_local(path, url)}") for path in files}
    shelf.keep_only({slot.path for slot in slots.values()})
    if url.startswith(WEB):
        _download_web({path: info["name"] for path, info in files.items()}, slots)
    else:
        storage.download_all(fs, files, slots, url=url)
    return shelf.files / name


def _local(path: str, url: str) -> str:
    return unquote(path) if url.startswith(WEB) else path


def _download_web(urls: Mapping[str, str], slots: Mapping[str, Slot]) -> None:
    with open_session() as session:
        for name, url in tqdm(urls.items(), desc="download", unit="file", disable=None):
            if not download(session, url, slots[name]):
                raise InputError(f"{url}: expected a file. Received: HTTP status 404 or 410.")


def _check_digests(paths: Iterable[Path], sha256: Mapping[str, str]) -> None:
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    for file in sorted(file for file in files if file.name in sha256 and is_archive(file)):
        try:
            check_digest(file, sha256[file.name])
        except InputError:
            file.unlink()  # or the next run would take it for a file that is already there
            raise


RETRIES = 5
TIMEOUT = (15.0, 60.0)  # seconds until connected, and between two pieces of the answer


def download_shared(source: str, *, cache: Path) -> list[Path]:
    """Download a shared file or folder, and return the archives or the folder that it became.

    Drive tells neither sizes nor versions without an account: a file that is there is taken to be
    whole and unchanged, and an interrupted one goes on where it stopped.

    Raises:
        ValueError: if gdown is not installed, or Drive does not hand the file out.
    """
    try:
        import gdown  # only for this source, and not quick to import
    except ImportError as error:
        raise InputError(
            f"{source}: expected gdown to be installed. Received: {error}. "
            "Run: pip install -r requirements-gdrive.txt."
        ) from None
    id_ = source.removeprefix("gdrive:").strip("/")
    folder = Shelf.of(cache, source).files
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _download(gdown, id_, folder)
    except Exception as error:  # gdown raises errors of its own and of what it is built on
        if is_disk_full(error):
            raise
        raise InputError(
            f"{source}: expected a file or folder shared with anyone who has the link. Received: "
            f"{error}. Check the id; after many downloads in a day Drive refuses, try tomorrow."
        ) from error
    return _found(source, folder)


def _download(gdown: Any, id_: str, folder: Path) -> None:
    options = {"resume": True, "retries": RETRIES, "timeout": TIMEOUT, "quiet": True}
    # Both kinds of id look alike: what is not listed as a folder is a file.
    try:
        gdown.download_folder(id=id_, output=f"{folder}/", skip_download=True, **options)
    except gdown.exceptions.DownloadError:
        gdown.download(id=id_, output=f"{folder}/", **options)
    else:
        gdown.download_folder(id=id_, output=f"{folder}/", **options)


def _found(source: str, folder: Path) -> list[Path]:
    entries = sorted(path for path in folder.iterdir() if not path.name.endswith(".part"))
    archives = [path for path in entries if is_archive(path)]
    folders = [path for path in entries if path.is_dir()]
    if not archives and not folders:
        names = ", ".join(path.name for path in entries) or "nothing"
        raise InputError(
            f"{source}: expected a folder or an archive (.zip, .tar, .tar.gz). Received: {names}."
        )
    return archives or folders
