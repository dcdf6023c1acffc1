"""What all remote sources share, and Google Drive, with a stand-in for gdown."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Site
from tests.source_examples import as_folder, as_zip, fetched, tree
from tissue.common.errors import InputError
from tissue.sources.cache import DownloadCache
from tissue.sources.remote import download_shared


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", "a\0b"])
def test_names_that_lead_out_of_the_cache(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out of the download cache"):
        DownloadCache(tmp_path, "source", most=10**9).file(name)


@pytest.mark.parametrize("name", ["phantom", "hpa"])
def test_drawn_and_atlas_images_stand_alone(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expected {name} to stand alone"):
        fetched([name, "a.zip"], tmp_path)


def test_unused_storage_options_are_refused(site: Site, tmp_path: Path) -> None:
    message = r"fetch\.storage_options: expected none .*Received: headers, with http"
    for source in (f"{site.url}/a.zip", [f"{site.url}/folder/", str(tmp_path / "a.zip")]):
        with pytest.raises(InputError, match=message):
            fetched(source, tmp_path, storage_options={"headers": {"Referer": "x"}})
    assert not site.requests


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
    assert fetched("gdrive:abc", tmp_path) == fetched(shared["abc"], tmp_path / "expected")


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
    with pytest.raises(InputError, match=r"pip install -r requirements/gdrive\.txt"):
        download_shared("gdrive:abc", cache=tmp_path)


def test_installed_library_has_what_is_used() -> None:
    gdown = pytest.importorskip("gdown", reason="needs gdown (requirements/gdrive.txt)")
    import inspect

    for function, names in (
        (gdown.download, {"id", "output", "resume", "retries", "timeout", "quiet"}),
        (gdown.download_folder, {"id", "output", "resume", "retries", "skip_download", "quiet"}),
    ):
        assert names <= set(inspect.signature(function).parameters)
    assert issubclass(gdown.exceptions.DownloadError, Exception)
