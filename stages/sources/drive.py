"""Files and folders shared through Google Drive, by their id: `gdrive:<id>`."""

from pathlib import Path
from typing import Any

from stages.cli.running import InputError, is_disk_full
from stages.sources.archives import is_archive
from stages.sources.cache import Shelf

RETRIES = 5
TIMEOUT = (15.0, 60.0)  # seconds until connected, and between two pieces of the answer


def bring(source: str, *, cache: Path) -> list[Path]:
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
