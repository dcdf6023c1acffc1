"""The output of fetch: images in few zip files, and the manifest."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from tests.source_examples import (
    FORMS,
    as_folder,
    as_zip,
    contents,
    fetched,
    halves,
    manifest_of,
    snapshot,
    tree,
)
from tissue.common.errors import InputError
from tissue.common.names import MANIFEST
from tissue.config.fetch import Phantom
from tissue.sources import raw


def test_manifest_describes_the_images_in_the_zip(tmp_path: Path) -> None:
    files = tree(per_class=3)
    manifest = manifest_of(as_zip(files, tmp_path / "a.zip"), tmp_path)
    assert list(manifest.columns) == [*MANIFEST, "sha256", "bytes"]
    out = tmp_path / "data/raw"
    assert sorted(path.name for path in out.iterdir()) == ["images-000.zip", "manifest.csv"]
    assert list(manifest["id"]) == sorted(files)
    with zipfile.ZipFile(out / "images-000.zip") as archive:
        assert archive.namelist() == list(manifest["id"])
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        for row in manifest.itertuples():
            content = archive.read(row.id)
            assert content == files[row.id]
            assert hashlib.sha256(content).hexdigest() == row.sha256
            assert str(len(content)) == row.bytes
            assert row.id.split("/")[:2] == [row.split, manifest.at[row.Index, "class"]]
    assert set(manifest["donor"]) == {""}


@pytest.mark.parametrize("form", FORMS)
def test_output_is_that_of_the_folder(form: str, tmp_path: Path) -> None:
    source = FORMS[form](tree(), tmp_path / "made")
    expected = manifest_of(as_folder(tree(), tmp_path / "plain"), tmp_path / "expected")
    manifest = manifest_of(source, tmp_path)
    shards = [tmp_path / at / "data/raw/images-000.zip" for at in (".", "expected")]
    assert shards[0].read_bytes() == shards[1].read_bytes()
    assert manifest.drop(columns="source").equals(expected.drop(columns="source"))
    assert set(manifest["source"]) == {source.name}


def test_output_of_several_archives_is_that_of_the_folder(tmp_path: Path) -> None:
    parts = halves(tree(), tmp_path / "parts")
    manifest = manifest_of(parts, tmp_path)
    as_list = fetched([parts / "0.zip", parts / "1.zip"], tmp_path / "list")
    as_tree = fetched(as_folder(tree(), tmp_path / "plain"), tmp_path / "expected")
    as_parts = contents(tmp_path / "data/raw")
    assert as_parts == as_list
    assert as_parts["images-000.zip"] == as_tree["images-000.zip"]
    assert set(manifest["source"]) == {"0.zip", "1.zip"}


@pytest.mark.parametrize("form", ["folder", "tar.gz"])
def test_same_bytes_twice(form: str, tmp_path: Path) -> None:
    source = FORMS[form](tree(), tmp_path)
    first = fetched(source, tmp_path / "one")
    for file in (tmp_path / "images").rglob("*.png"):
        file.touch()
    assert fetched(source, tmp_path / "two") == first


def test_drawn_images_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    drawn = Phantom(train_per_class=2, test_per_class=1, size=32)
    one, two = (
        manifest_of("phantom", tmp_path / str(workers), workers=workers, phantom=drawn)
        for workers in (1, 2)
    )
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert one["class"].nunique() == two["class"].nunique() == 12


@pytest.mark.parametrize(("name", "most"), [("SHARD_BYTES", 1500), ("SHARD_IMAGES", 4)])
def test_shards_of_limited_size(
    name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, name, most)
    manifest = manifest_of(as_folder(tree(), tmp_path / "images"), tmp_path)
    assert manifest["file"].nunique() > 2
    assert manifest["file"].is_monotonic_increasing
    for file, rows in manifest.groupby("file"):
        with zipfile.ZipFile(tmp_path / "data/raw" / str(file)) as archive:
            assert archive.namelist() == list(rows["id"])


def test_error_halfway_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    fetched(as_folder(tree(), tmp_path / "images"), tmp_path)
    before = snapshot(tmp_path / "data")
    damaged = as_zip(tree(), tmp_path / "a.zip", compression=zipfile.ZIP_STORED)
    content = bytearray(damaged.read_bytes())
    last = content.rindex(b"IDAT")
    content[last + 20] ^= 255
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: expected to read .*Received: Bad CRC"):
        fetched(damaged, tmp_path)
    assert snapshot(tmp_path / "data") == before
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]
