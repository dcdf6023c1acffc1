"""Files and folders on this machine or at a URL, of the file system of fsspec in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tissue.chunks.files import Folder, local_folder


@pytest.fixture(params=["folder", "url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    made = Folder("memory://shared", {}) if request.param == "url" else local_folder(tmp_path / "a")
    yield made
    made.remove()


def test_a_file_appears_complete_or_not_at_all(folder: Folder) -> None:
    def write_half() -> None:
        with folder.atomic_write("a.npy") as path:
            path.write_bytes(b"half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert folder.finished() == set()
    with folder.atomic_write("a.npy") as path:
        path.write_bytes(b"whole")
        assert folder.finished() == set()
    assert folder.finished() == {"a.npy"}
    folder.remove()
    assert folder.finished() == set()


def test_files_are_shared_and_downloaded(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"content")
    files = folder.share({"a.bin": tmp_path / "a.bin", "sub/b.bin": tmp_path / "a.bin"})
    with files.open("a.bin") as file:
        assert file.read() == b"content"
    with files.local_copies(["a.bin", "sub/b.bin"]) as paths:
        assert [path.read_bytes() for path in paths.values()] == [b"content"] * 2
    with folder.atomic_write("c.npy") as path:
        path.write_bytes(b"result")
    here = tmp_path / "a"
    here.mkdir(exist_ok=True)
    folder.copy_to("c.npy", here)
    assert (here / "c.npy").read_bytes() == b"result"
