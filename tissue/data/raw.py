"""The images that `fetch` found: in zip files of `data/raw`, or where they were.

With `fetch.copy: false`, only the manifest is in `data/raw`. Its `file` is then the folder or zip
file as it was given, seen from the root of the repository, and `member` the name in it. DVC does
not look there, so each image is compared with its digest whenever it is read.
"""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import reading
from tissue.common.names import MANIFEST, SPLITS
from tissue.config.schema import Engine
from tissue.data.index import locate_rows, read_index

FETCH_AGAIN = (
    "Put it back, or run `dvc repro --force fetch && dvc repro` to take the source as it is now"
)
DAMAGED = (
    OSError, KeyError, EOFError, RuntimeError, NotImplementedError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


IN_PLACE = ("member", "sha256", "bytes")  # columns of a manifest without copies


class Original(NamedTuple):
    """An image by its id, the zip file or folder it is in, and its micrometres per pixel as text.

    The rest is known only of an image that was not copied.
    """

    id: str
    file: str
    mpp: str = ""
    member: str = ""
    sha256: str = ""
    bytes: int = 0

    @property
    def scale(self) -> float | None:
        """Micrometres per pixel, None if unknown."""
        return float(self.mpp) if self.mpp else None


def read_manifest(raw: Path) -> pd.DataFrame:
    """Return the manifest of the folder `raw`; `is_in_place` says which columns it has.

    Raises:
        InputError: if it is damaged.
    """
    path = raw / "manifest.csv"
    manifest = read_index(path)
    columns = [*MANIFEST, *(IN_PLACE if is_in_place(manifest) else ())]
    with reading(path):
        return manifest[columns]


def check_listed(root: Path) -> None:
    """Check that the manifest has all images of `data/split`.

    Raises:
        InputError: naming one that it has not.
    """
    listed = read_manifest(root / "data/raw")
    for name in SPLITS:
        ids = read_index(root / f"data/split/{name}.csv", ["id"])["id"]
        locate_rows(ids, listed, what="data/raw/manifest.csv")


def is_in_place(manifest: pd.DataFrame) -> bool:
    """Return whether the images are where they were found, so that there are more columns."""
    return IN_PLACE[0] in manifest


def check_reachable(manifest: pd.DataFrame, engine: Engine) -> None:
    """Raise an `InputError` if machines of a cluster could not read images that were not copied."""
    if is_in_place(manifest) and engine.kind == "ray" and engine.storage is not None:
        raise InputError(
            "engine.storage: expected null where fetch.copy is false, since machines then read the "
            f"images where they are. Received: {engine.storage}. Set fetch.copy to true."
        )


def list_originals(manifest: pd.DataFrame) -> list[Original]:
    """Return the place of each image of the manifest."""
    columns = ["id", "file", "mpp", *(IN_PLACE if is_in_place(manifest) else ())]
    return [Original(*row) for row in manifest[columns].itertuples(index=False, name=None)]


def find_places(manifest: pd.DataFrame, raw: Path) -> dict[str, Path]:
    """Return where each `file` of the manifest in the folder `raw` is.

    Raises:
        InputError: if one was not copied, and is not there.
    """
    base = raw.parents[1] if is_in_place(manifest) else raw
    places = {name: base / name for name in sorted(manifest["file"].unique())}
    for name, path in places.items():
        if is_in_place(manifest) and not path.exists():
            raise InputError(
                f"{name}: expected the images where `fetch` found them, since fetch.copy is false. "
                f"Received: nothing there, seen from {base.resolve()}. Mount or copy them there, "
                "or run `dvc repro` with fetch.copy set to true where they are."
            )
    return places


def open_place(path: Path) -> Path | zipfile.ZipFile:
    """Return a folder as it is, and a zip file opened."""
    return path if path.is_dir() else zipfile.ZipFile(path)


def read_original(one: Original, place: Path | zipfile.ZipFile) -> bytes:
    """Return the bytes of an image.

    Raises:
        InputError: if its file is damaged, or if it was not copied, and is missing or changed.
    """
    if not one.member:
        with reading(Path("data/raw", one.file)):
            assert isinstance(place, zipfile.ZipFile), "only these are in data/raw"
            return place.read(one.id)
    try:
        content = _read_in_place(one, place)
    except DAMAGED as error:
        raise _changed(one, f"none that can be read ({error})") from None
    if hashlib.sha256(content).hexdigest() != one.sha256:
        raise _changed(one, "another content")
    return content


def _read_in_place(one: Original, place: Path | zipfile.ZipFile) -> bytes:
    # By its size first, since another file may be of any.
    if isinstance(place, Path):
        path = place / one.member
        return path.read_bytes() if path.stat().st_size == one.bytes else b""
    member = place.getinfo(one.member)
    return place.read(member) if member.file_size == one.bytes else b""


def _changed(one: Original, received: str) -> InputError:
    return InputError(
        f"{one.file}: expected {one.member} as `fetch` found it, since fetch.copy is false. "
        f"Received: {received}. {FETCH_AGAIN}."
    )
