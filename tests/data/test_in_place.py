"""Images that stay where they are: `fetch.copy: false`."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks import in_place as in_place_or_not
from stages import split
from tests.source_examples import (
    FORMS,
    PARAMS,
    Tree,
    as_folder,
    as_zip,
    contents,
    halves,
    picture,
    run_fetch,
)
from tissue.common.errors import InputError
from tissue.common.files import file_digest
from tissue.common.names import MANIFEST
from tissue.data.index import read_index
from tissue.data.raw import find_places, list_originals, open_place, read_manifest, read_original

SPLIT = PARAMS.split.model_copy(update={"min_per_class": 1, "min_side": 8})


def files() -> Tree:
    """Images of two classes in both splits, some with names that zips store in other ways."""
    return {
        f"{part}/{name}/{file}": picture(100 * at + 10 * number + len(part), side=48)
        for part in ("train", "test")
        for at, name in enumerate(("colon", "liver"))
        for number, file in enumerate(["a.png", "ä b.png", "1.png", "d.png", "e.png"])
    }


def in_place(source: Any, root: Path) -> Path:
    return run_fetch(source, root, copy_images=False)


def run_split(root: Path, **engine: Any) -> dict[str, bytes]:
    update = {"image_size": 32, "split": SPLIT}
    update["engine"] = PARAMS.engine.model_copy(update=engine)
    split.run(PARAMS.model_copy(update=update), root, workers=0)
    return contents(root / "data/split")


@pytest.mark.parametrize("form", ["folder", "zip", "stored zip", "two zips"])
def test_splits_are_those_of_a_copy(form: str, tmp_path: Path) -> None:
    two = form == "two zips"
    source = halves(files(), tmp_path / "zips") if two else FORMS[form](files(), tmp_path)
    before = file_digest(source) if source.is_file() else ""
    copied, root = tmp_path / "copied", tmp_path / "in place"
    run_fetch(source, copied)
    raw = in_place(source, root)
    assert [path.name for path in raw.iterdir()] == ["manifest.csv"]
    manifest, other = read_index(raw / "manifest.csv"), read_index(copied / "data/raw/manifest.csv")
    assert list(manifest) == [*MANIFEST[:4], "member", *MANIFEST[4:], "sha256", "bytes"]
    for column in set(other) - {"file"}:
        assert manifest[column].equals(other[column])
    assert run_split(root) == run_split(copied)
    assert not before or file_digest(source) == before


def test_names_that_state_no_encoding(tmp_path: Path) -> None:
    """The name by which `zipfile` finds a member is kept, whatever `fetch` made of it."""
    images = {
        f"{name}\\{seed}.png": picture(seed) for name in ("skin", "lung") for seed in range(3)
    }
    source = as_zip(images, tmp_path / "a.zip")
    content = source.read_bytes()
    for name, other in {b"skin": "皮膚", b"lung": "肝臓"}.items():
        content = content.replace(name, other.encode("cp932"))
    source.write_bytes(content)
    manifest = read_manifest(in_place(source, tmp_path))
    assert set(manifest["class"]) == {"皮膚", "肝臓"}
    with zipfile.ZipFile(source) as archive:
        assert set(manifest["member"]) == set(archive.namelist())
    (place,) = find_places(manifest, tmp_path / "data/raw").values()
    read = {read_original(one, open_place(place)) for one in list_originals(manifest)}
    assert read == set(images.values())


def test_a_relative_path_is_seen_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_folder(files(), tmp_path / "images")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    in_place("../images", Path())
    assert set(read_manifest(Path("data/raw"))["file"]) == {"../images"}
    assert run_split(Path())
    shutil.copytree("data/raw", "elsewhere/clone/data/raw")
    with pytest.raises(InputError, match=r"^\.\./images: expected .* nothing there, seen from .*e"):
        run_split(Path("elsewhere/clone"))


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda found: {**found, "train/liver/d.png": picture(999, side=48)}, "another content"),
        (lambda found: {**found, "train/liver/d.png": b"x" * 10**6}, "another content"),
        (
            lambda found: {name: found[name] for name in found if name != "train/liver/d.png"},
            r"none that can be read \(",
        ),
    ],
)
def test_a_changed_or_missing_picture_is_named(
    form: str, change: Any, received: str, tmp_path: Path
) -> None:
    source = FORMS[form](files(), tmp_path)
    in_place(source, tmp_path)
    shutil.rmtree(source) if source.is_dir() else source.unlink()
    FORMS[form](change(files()), tmp_path)
    expected = rf"^{source}: expected train/liver/d\.png as `fetch` found it.* Received: {received}"
    with pytest.raises(InputError, match=expected):
        run_split(tmp_path)
    assert not (tmp_path / "data/split").exists()


def test_a_picture_that_came_later_is_not_seen(tmp_path: Path) -> None:
    source = as_folder(files(), tmp_path / "images")
    in_place(source, tmp_path)
    before = run_split(tmp_path)
    as_folder({"train/liver/new.png": picture(7, side=48)}, source)
    assert run_split(tmp_path) == before


@pytest.mark.parametrize("form", ["tar", "tar.gz", "phantom"])
def test_what_cannot_stay_is_told(form: str, tmp_path: Path) -> None:
    source = form if form == "phantom" else FORMS[form](files(), tmp_path)
    with pytest.raises(InputError, match=r"^fetch\.copy: .* false, with .* Set it to true"):
        in_place(source, tmp_path)
    assert not (tmp_path / "data/raw").exists()


def test_machines_of_a_cluster_need_the_same_files(tmp_path: Path) -> None:
    in_place(as_folder(files(), tmp_path / "images"), tmp_path)
    with pytest.raises(InputError, match=r"engine\.storage: expected null where fetch\.copy is f"):
        run_split(tmp_path, kind="ray", storage="s3://bucket/folder")


def test_what_dvc_shares_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_place(as_folder(files(), tmp_path / "images"), tmp_path)
    assert "which is all that `dvc push` shares" in capsys.readouterr().out


def test_what_the_benchmark_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy writes at least the bytes of the images, the list of them a small share."""
    monkeypatch.setattr(in_place_or_not, "IMAGE", 50_000)
    in_place_or_not.make_zips(tmp_path / "source", 2, 500_000)
    listed, copied = (
        in_place_or_not.measure(tmp_path / "source", tmp_path / str(copy), copy=copy)[1]
        for copy in (False, True)
    )
    assert copied > 2 * 500_000
    assert 0 < listed < 10_000
