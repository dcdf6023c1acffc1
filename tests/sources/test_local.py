"""Folders and archives on this machine: what is read, merged and refused."""

import errno
import hashlib
import io
import os
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from tests.pipeline import ROOT
from tests.source_examples import (
    FORMS,
    PARAMS,
    Tree,
    as_folder,
    as_tar,
    as_zip,
    picture,
    snapshot,
    tree,
)
from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.sources.local import list_images

LIMITS = PARAMS.fetch.limits


def read(*sources: Path, sha256: dict[str, str] | None = None) -> Tree:
    """Ids and bytes of the images of sources, in the order in which they are listed."""
    with ExitStack() as closing:
        images = list_images(sources, sha256=sha256 or {}, limits=LIMITS, closing=closing)
        return {image.id: image.read() for image in images}


@pytest.mark.parametrize("form", FORMS)
class TestForms:
    @pytest.mark.parametrize("splits", [("train", "test"), ("train",), ()])
    def test_images_are_read_as_they_are(
        self, form: str, splits: tuple[str, ...], tmp_path: Path
    ) -> None:
        files = tree(splits=splits)
        source = FORMS[form](files, tmp_path)
        before = snapshot(tmp_path)
        assert list(read(source).items()) == sorted(files.items())
        assert snapshot(tmp_path) == before

    def test_folder_above_and_other_files(self, form: str, tmp_path: Path) -> None:
        files = tree()
        noise = {
            "readme.txt": b"x", "atlas/train/colon/.DS_Store": b"x", "atlas/train/.x.png": b"x",
            "__MACOSX/atlas/train/colon/._0.png": b"x", "atlas/train/colon/._0.png": b"x",
        }  # fmt: skip
        below = {f"atlas/{name}": content for name, content in files.items()} | noise
        assert read(FORMS[form](below, tmp_path)) == files


class TestSeveral:
    def parts(self, folder: Path) -> list[Path]:
        """Archives of three kinds that each hold a third of one tree."""
        names = sorted(tree())
        parts = [{name: tree()[name] for name in names[start::3]} for start in range(3)]
        return [
            as_zip(parts[0], folder / "1.zip"),
            as_tar(parts[1], folder / "2.tar"),
            as_tar(parts[2], folder / "3.tar.gz"),
        ]

    def test_parts_of_one_tree_are_merged(self, tmp_path: Path) -> None:
        parts = self.parts(tmp_path)
        assert list(read(*parts).items()) == sorted(tree().items())
        assert read(*reversed(parts)) == tree()

    def test_folder_of_archives_is_their_list(self, tmp_path: Path) -> None:
        self.parts(tmp_path / "parts/below")
        (tmp_path / "parts/readme.txt").write_text("x")
        assert read(tmp_path / "parts") == tree()

    def test_folder_and_archive(self, tmp_path: Path) -> None:
        first, *others = self.parts(tmp_path)
        with zipfile.ZipFile(first) as archive:
            archive.extractall(tmp_path / "folder")
        assert read(tmp_path / "folder", *others) == tree()

    def test_images_beside_archives_are_refused(self, tmp_path: Path) -> None:
        self.parts(tmp_path / "parts")
        as_folder(tree(), tmp_path / "parts")
        with pytest.raises(InputError, match=r"expected images or archives. Received: both"):
            read(tmp_path / "parts")

    def test_layout_is_that_of_all_together(self, tmp_path: Path) -> None:
        # On its own the second would be classes without a test set.
        first = as_zip({"train/liver/a.png": picture(1)}, tmp_path / "1.zip")
        second = as_zip({"liver/b.png": picture(2)}, tmp_path / "2.zip")
        message = r"1\.zip \+ .*2\.zip: .*elsewhere, e\.g\. liver/b\.png"
        with pytest.raises(InputError, match=message):
            read(first, second)

    def test_same_image_twice_is_merged(self, tmp_path: Path) -> None:
        first, second = as_zip(tree(), tmp_path / "1.zip"), as_zip(tree(), tmp_path / "2.zip")
        assert read(first, second) == tree()
        assert read(first, first) == tree()

    def test_same_name_with_other_bytes_is_an_error(self, tmp_path: Path) -> None:
        first = as_zip(tree(), tmp_path / "1.zip")
        second = as_tar(tree() | {"train/liver/1.png": picture(99)}, tmp_path / "2.tar")
        with pytest.raises(InputError, match=r"2\.tar: .*train/liver/1\.png that differs .*1\.zip"):
            read(first, second)

    def test_same_name_below_two_folders_is_no_clash(self, tmp_path: Path) -> None:
        files = {f"{one}/train/liver/1.png": picture(seed) for seed, one in enumerate("ab")}
        found = read(as_zip(files, tmp_path / "images.zip"))
        assert found == {f"train/{one}/liver/1.png": picture(n) for n, one in enumerate("ab")}

    def test_names_that_differ_only_in_case_are_one(self, tmp_path: Path) -> None:
        first = as_zip({"liver/b.png": picture(1), "colon/a.png": picture(2)}, tmp_path / "1.zip")
        same = as_zip({"liver/B.png": picture(1)}, tmp_path / "2.zip")
        assert list(read(first, same)) == ["colon/a.png", "liver/b.png"]
        other = as_zip({"liver/B.png": picture(3)}, tmp_path / "3.zip")
        with pytest.raises(InputError, match=r"3\.zip: .*liver/B\.png that differs .*1\.zip"):
            read(first, other)


class TestDigests:
    def test_digest_is_checked(self, tmp_path: Path) -> None:
        source = as_zip(tree(), tmp_path / "a.zip")
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        assert read(source, sha256={"a.zip": digest}) == tree()
        message = rf"a\.zip: expected sha256 {'0' * 64}\. Received: {digest}"
        with pytest.raises(InputError, match=message):
            read(source, sha256={"a.zip": "0" * 64})

    def test_unknown_name(self, tmp_path: Path) -> None:
        source = as_zip(tree(), tmp_path / "a.zip")
        with pytest.raises(InputError, match=r"fetch\.sha256: .*Received: b\.zip"):
            read(source, sha256={"b.zip": "0" * 64})

    def test_digest_is_checked_before_anything_is_opened(self, tmp_path: Path) -> None:
        (tmp_path / "a.zip").write_bytes(b"no archive")
        with pytest.raises(InputError, match="expected sha256"):
            read(tmp_path / "a.zip", sha256={"a.zip": "0" * 64})


class TestWrongSources:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"fetch\.source: .*nowhere, which does not exist"):
            read(tmp_path / "nowhere")

    @pytest.mark.parametrize("name", ["a.7z", "a.jpg", "a"])
    def test_wrong_suffix(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=r"expected a folder or an archive .*Received: a file"):
            read(tmp_path / name)

    def test_nothing_to_read(self, tmp_path: Path) -> None:
        for sources in ([], [tmp_path]):
            with pytest.raises(InputError, match=r"expected images .*Received: none"):
                read(*sources)

    def test_folder_that_cannot_be_listed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        as_folder(tree(), tmp_path)
        real = os.scandir

        def scandir(path: str) -> object:
            if Path(path).name == "kidney":
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        with pytest.raises(InputError, match=r"test/kidney: expected to list .* denied\. Change"):
            read(tmp_path)


def test_links_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    source = as_folder(tree(splits=()), tmp_path / "images")
    (source / "liver/inside.png").symlink_to(source / "colon/0.png")
    assert len(read(source)) == 7
    (tmp_path / "secret.png").write_bytes(picture(50))
    (source / "liver/outside.png").symlink_to(tmp_path / "secret.png")
    message = r"liver/outside\.png, a link to .*secret\.png.*advanced\.fetch\.outside_links"
    with pytest.raises(InputError, match=message):
        read(source)
    with ExitStack() as closing:
        listing = list_images(
            [source], sha256={}, limits=LIMITS, closing=closing, outside_links=True
        )
        assert len(listing) == 8


def test_an_archive_that_is_a_link_out_of_the_folder(tmp_path: Path) -> None:
    source = tmp_path / "archives"
    source.mkdir()
    (source / "a.zip").symlink_to(as_zip(tree(splits=()), tmp_path / "private.zip"))
    with pytest.raises(InputError, match=r"a\.zip, a link to .*private\.zip"):
        read(source)


def test_a_link_that_leads_to_itself_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = as_folder(tree(splits=()), tmp_path / "images")
    (source / "liver/loop.png").symlink_to("loop.png")
    (source / "liver/one.png").symlink_to("two.png")
    (source / "liver/two.png").symlink_to("one.png")
    assert len(read(source)) == 6
    assert "left out: 3 x link" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd|'x'!A0"])
def test_names_that_spreadsheets_would_run(name: str, tmp_path: Path) -> None:
    names = [f"{name}/1.png", "liver/2.png"]
    with pytest.raises(InputError, match=r"a\.zip: expected names that a spreadsheet shows"):
        read(as_zip({name: picture(n) for n, name in enumerate(names)}, tmp_path / "a.zip"))


def test_numbers_and_signs_are_names(tmp_path: Path) -> None:
    names = ["-1/1.png", "+1/2.png", "CD4+/3.png", "a=b/4.png"]
    files = {name: picture(n) for n, name in enumerate(names)}
    assert set(read(as_zip(files, tmp_path / "a.zip"))) == set(names)


@pytest.mark.parametrize("letter", ["\u202e", "\u2028", "\u2066", "\x1b", "\x9b"])
def test_names_that_would_change_a_terminal(letter: str, tmp_path: Path) -> None:
    files = {f"li{letter}ver/1.png": picture(1), "skin/2.png": picture(2)}
    with pytest.raises(InputError, match=r"without control characters") as caught:
        read(as_zip(files, tmp_path / "a.zip"))
    assert letter not in str(caught.value)
    assert printable(f"a{letter}b\nc") == f"a{ascii(letter)[1:-1]}b\nc"


def test_source_that_cannot_be_written_to(tmp_path: Path) -> None:
    source = as_folder(tree(), tmp_path / "images")
    folders = [source, *(path for path in source.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert read(source) == tree()
    finally:
        for folder in folders:
            folder.chmod(0o755)


SHARED = ROOT.parent / "shared/data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
def test_real_tiles_in_several_zips() -> None:
    with ExitStack() as closing:
        images = list_images([SHARED / "tiles"], sha256={}, limits=LIMITS, closing=closing)
        assert len({image.origin for image in images}) > 1
        assert len({image.class_name for image in images}) > 2
        with Image.open(io.BytesIO(next(iter(images)).read())) as image:
            image.verify()


@pytest.mark.parametrize("name", [b"no \xff text.zip", b"a\rb.zip", b"a\nb.zip", b"=1+1.zip"])
def test_names_of_archives_that_the_manifest_cannot_hold(name: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = as_zip(tree(), tmp_path / "a.zip")
    os.rename(os.fsencode(archive), os.fsencode(folder) + b"/" + name)  # noqa: PTH104  bytes
    with pytest.raises(InputError, match=r"fetch\.source: expected names .*Received: .*Rename"):
        read(folder)
