"""Google Drive as a source, with a stand-in for gdown: Drive itself is out of reach of tests."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.sources.test_remote import fetched, from_disk
from tests.sources.test_sources import as_folder, as_zip, tree
from tissue.common.errors import InputError
from tissue.sources import remote as drive


class DownloadError(Exception):
    pass


def stand_in(shared: dict[str, Path]) -> Any:
    """A module with the two functions of gdown that are used; `shared` maps ids to paths."""
    gdown = types.ModuleType("gdown")

    def download(*, id: str, output: str, **options: Any) -> str:
        if id not in shared:
            raise DownloadError("You may need to change the permission")
        assert options["resume"]
        target = Path(output, shared[id].name)
        target.write_bytes(shared[id].read_bytes())
        return str(target)

    def download_folder(*, id: str, output: str, skip_download: bool = False, **_: Any) -> None:
        if id not in shared or not shared[id].is_dir():
            raise DownloadError("Failed to retrieve folder contents")
        files = {p.relative_to(shared[id]).as_posix(): p for p in shared[id].rglob("*.*")}
        if not skip_download:
            content = {name: path.read_bytes() for name, path in files.items()}
            as_folder(content, Path(output, shared[id].name))

    gdown.download, gdown.download_folder = download, download_folder  # type: ignore[attr-defined]
    gdown.exceptions = types.SimpleNamespace(DownloadError=DownloadError)  # type: ignore[attr-defined]
    return gdown


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    monkeypatch.setitem(sys.modules, "gdown", stand_in(paths))
    return paths


@pytest.mark.parametrize("form", ["file", "folder", "folder of archives"])
def test_same_bytes_as_from_a_folder(form: str, shared: dict[str, Path], tmp_path: Path) -> None:
    local = (
        as_folder(tree(), tmp_path / "made/images")
        if form == "folder"
        else as_zip(tree(), tmp_path / "made/parts/images.zip")
    )
    shared["abc"] = local.parent if form == "folder of archives" else local
    assert fetched("gdrive:abc", tmp_path) == from_disk(shared["abc"], tmp_path)


def test_not_shared(shared: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gdrive:abc: expected a file or folder shared"):
        fetched("gdrive:abc", tmp_path)


def test_neither_folder_nor_archive(shared: dict[str, Path], tmp_path: Path) -> None:
    shared["abc"] = tmp_path / "notes.txt"
    shared["abc"].write_text("no images")
    with pytest.raises(InputError, match=r"Received: notes\.txt"):
        fetched("gdrive:abc", tmp_path)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-gdrive\.txt"):
        drive.download_shared("gdrive:abc", cache=tmp_path)


def test_installed_library_has_what_is_used() -> None:
    gdown = pytest.importorskip("gdown", reason="needs gdown (requirements-gdrive.txt)")
    import inspect

    for function, names in (
        (gdown.download, {"id", "output", "resume", "retries", "timeout", "quiet"}),
        (gdown.download_folder, {"id", "output", "resume", "retries", "skip_download", "quiet"}),
    ):
        assert names <= set(inspect.signature(function).parameters)
    assert issubclass(gdown.exceptions.DownloadError, Exception)
