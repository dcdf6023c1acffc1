"""Sources that fsspec reads: the same bytes as from a folder, resumed after an interruption."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.source_examples import as_folder, as_zip, fetched, tree
from tissue.common.errors import InputError
from tissue.sources import remote


@pytest.fixture
def bucket() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


@pytest.mark.parametrize("form", ["folder", "archive", "folder of archives"])
def test_same_bytes_as_local(form: str, bucket: Any, tmp_path: Path) -> None:
    local = tmp_path / "made/images"
    if form == "folder":
        as_folder(tree(), local)
    else:
        local = as_zip(tree(), local / "a.zip")
        local = local.parent if form == "folder of archives" else local
    if form != "archive":
        as_zip(tree(per_class=1), local / ".old/a.zip")
    bucket.put(str(local), "/store/" + local.name, recursive=True)
    expected = fetched(local, tmp_path / "expected")
    assert fetched(f"memory://store/{local.name}", tmp_path) == expected


def test_files_removed_at_the_source_are_removed_here(bucket: Any, tmp_path: Path) -> None:
    local = as_folder(tree(), tmp_path / "made/images")
    bucket.put(str(local), "/images", recursive=True)
    fetched("memory://images", tmp_path)
    bucket.rm("/images/train/colon/0.png")
    (local / "train/colon/0.png").unlink()
    assert fetched("memory://images", tmp_path) == fetched(local, tmp_path / "expected")


def test_nothing_there(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory://nowhere"):
        fetched("memory://nowhere", tmp_path)


def test_interrupted_download_is_resumed(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = as_zip(tree(), tmp_path / "made/a.zip")
    bucket.put(str(archive), "/a.zip")
    monkeypatch.setattr(remote, "CHUNK", 100)
    sizes, whole = [], fsspec.implementations.memory.MemoryFile.read

    def read(self: Any, size: int = -1) -> bytes:
        sizes.append(size)
        if len(sizes) == 5:
            raise ConnectionResetError("dropped")
        return whole(self, size)

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", read)
    got = fetched("memory://a.zip", tmp_path)
    monkeypatch.undo()
    assert len(sizes) == archive.stat().st_size // 100 + 3
    assert got == fetched(archive, tmp_path / "expected")


def test_unknown_protocol(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nosuch"):
        fetched("nosuch://a.zip", tmp_path)


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_missing_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pip install -r requirements/gcs\.txt"):
        fetched("gs://bucket/a.zip", tmp_path)
