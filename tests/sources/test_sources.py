"""Folders and archives as sources: what is understood, what is refused, and what is handed on."""

import errno
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import fetch
from tests.pipeline import ROOT
from tissue.common.errors import InputError
from tissue.config.loading import load_params
from tissue.config.schema import Fetch, Phantom
from tissue.sources import archives
from tissue.sources.archives import is_archive
from tissue.sources.layout import Place, check_layout, is_image, place_of
from tissue.sources.local import list_images

DEFAULT = load_params(ROOT / "params.yaml").fetch
LIMITS = DEFAULT.limits
CLASSES = ["colon", "kidney", "liver"]
Tree = dict[str, bytes]


def picture(seed: int, kind: str = "PNG") -> bytes:
    """A small image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tree(*, splits: Iterable[str] = ("train", "test"), per_class: int = 2) -> Tree:
    """Names and bytes of a small set of images; without splits as `<class>/<image>`."""
    names = [
        "/".join((*split, name, f"{number}.png"))
        for split in ([(split,) for split in splits] or [()])
        for name in CLASSES
        for number in range(per_class)
    ]
    return {name: picture(seed) for seed, name in enumerate(names)}


def as_folder(files: Tree, path: Path) -> Path:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def as_zip(files: Tree, path: Path, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def as_tar(files: Tree, path: Path) -> Path:
    mode = "w" if path.name.endswith(".tar") else "w:gz"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


FORMS: dict[str, Callable[[Tree, Path], Path]] = {
    "folder": lambda files, at: as_folder(files, at / "images"),
    "zip": lambda files, at: as_zip(files, at / "images.zip"),
    "stored zip": lambda files, at: as_zip(files, at / "i.ZIP", compression=zipfile.ZIP_STORED),
    "tar": lambda files, at: as_tar(files, at / "images.tar"),
    "tar.gz": lambda files, at: as_tar(files, at / "images.tar.gz"),
    "tgz": lambda files, at: as_tar(files, at / "images.tgz"),
}


def read(*sources: Path, sha256: dict[str, str] | None = None) -> Tree:
    """Ids and bytes of the images of sources, in the order in which they are listed."""
    with ExitStack() as closing:
        images = list_images(map(str, sources), sha256=sha256 or {}, limits=LIMITS, closing=closing)
        return {image.place.id: image.read() for image in images}


def place_images(names: Iterable[str]) -> dict[str, Place]:
    """The place of each image among the files of a source."""
    images = sorted(name for name in names if is_image(name))
    with_splits = check_layout(images, source="the source")
    places = {name: place_of(name, with_splits=with_splits) for name in images}
    return {name: place for name, place in places.items() if place}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with its bytes and the time it was changed."""
    return {
        file.relative_to(folder).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def settings(source: Path | list[Path] | str, sha256: dict[str, str] | None = None) -> Fetch:
    names = [str(path) for path in source] if isinstance(source, list) else str(source)
    drawn = Phantom(train_per_class=2, test_per_class=1, size=32)
    return DEFAULT.model_copy(
        update={"source": names, "sha256": sha256 or {}, "phantom": drawn},
    )


def fetched(source: Path | list[Path] | str, out: Path, **kwargs: dict[str, str]) -> pd.DataFrame:
    fetch.run(settings(source, **kwargs), seed=3, workers=1, out=out)
    return pd.read_csv(out / "manifest.csv", keep_default_na=False)


class TestLayout:
    @pytest.mark.parametrize("prefix", ["", "anything/", "a/b/c/", "./"])
    def test_splits_and_classes_below_any_folder(self, prefix: str) -> None:
        place = place_images([f"{prefix}train/liver/a.jpg"])[f"{prefix}train/liver/a.jpg"]
        assert (place.id, place.split, place.class_name) == ("train/liver/a.jpg", "train", "liver")

    @pytest.mark.parametrize("prefix", ["", "anything/", "a/b/c/", "./"])
    def test_classes_without_a_test_set(self, prefix: str) -> None:
        place = place_images([f"{prefix}liver/a.jpg"])[f"{prefix}liver/a.jpg"]
        assert (place.id, place.split, place.class_name) == ("liver/a.jpg", "", "liver")

    def test_split_in_capitals(self) -> None:
        assert place_images(["Train/liver/a.jpg"])["Train/liver/a.jpg"].split == "train"

    @pytest.mark.parametrize(
        "path", ["a.jpg", "a.JPEG", "a.png", "a.tif", "a.tiff", "a.bmp", "a.webp", "x y/ä é.PNG"]
    )
    def test_images(self, path: str) -> None:
        assert is_image(path)

    @pytest.mark.parametrize(
        "path",
        [
            "a.txt", "a", "Thumbs.db", ".hidden.jpg", "liver/._a.jpg", ".git/liver/a.jpg",
            "__MACOSX/train/liver/a.jpg", "train/__MACOSX/a.jpg", "a.jpg.txt",
        ],
    )  # fmt: skip
    def test_no_images(self, path: str) -> None:
        assert not is_image(path)

    @pytest.mark.parametrize(
        ("paths", "message"),
        [
            ([], "expected images .*Received: none"),
            (["train/liver/readme.txt"], "expected images .*Received: none"),
            (["a.jpg"], r"expected every image as <class>/<image>.*1 elsewhere, e\.g\. a\.jpg"),
            (["train/liver/a.jpg", "b.jpg"], r"train/<class>/<image> and test.*elsewhere.*b\.jpg"),
            (["train/liver/a.jpg", "val/liver/a.jpg"], r"elsewhere, e\.g\. val/liver/a\.jpg"),
            (["train/liver/x/a.jpg", "test/liver/a.jpg"], r"elsewhere, e\.g\. train/liver/x"),
            (["liver/a.jpg", "liver/more/b.jpg"], r"in one folder.* in liver and .*liver/more\."),
            (["x/skin/a.jpg", "x/skin/y/z/b.jpg"], r"some in x/skin .*x/skin/y/z\."),
            (["train/liver/a.jpg", "train/b.jpg"], r"elsewhere, e\.g\. train/b\.jpg"),
        ],
    )
    def test_wrong_layout(self, paths: list[str], message: str) -> None:
        with pytest.raises(InputError, match=rf"^the source: .*{message}"):
            place_images(paths)

    def test_archive_names(self) -> None:
        names = ["a.zip", "a.ZIP", "a.tar", "a.tar.gz", "a.tgz", "b.c.tar.gz"]
        assert all(is_archive(Path(name)) for name in names)
        others = ["a.gz", "a.7z", "a.rar", "zip", "._a.zip", "a.jpg"]
        assert not any(is_archive(Path(name)) for name in others)


@pytest.mark.parametrize("form", FORMS)
class TestForms:
    @pytest.mark.parametrize("splits", [("train", "test"), ("train",), ()])
    def test_images_are_read_as_they_are(
        self, form: str, splits: tuple[str, ...], tmp_path: Path
    ) -> None:
        files = tree(splits=splits)
        assert list(read(FORMS[form](files, tmp_path)).items()) == sorted(files.items())

    def test_folder_above_and_other_files(self, form: str, tmp_path: Path) -> None:
        files = tree()
        noise = {
            "readme.txt": b"x", "atlas/train/colon/.DS_Store": b"x", "atlas/train/.x.png": b"x",
            "__MACOSX/atlas/train/colon/._0.png": b"x", "atlas/train/colon/._0.png": b"x",
        }  # fmt: skip
        below = {f"atlas/{name}": content for name, content in files.items()} | noise
        assert read(FORMS[form](below, tmp_path)) == files

    def test_nothing_is_written_beside_the_source(self, form: str, tmp_path: Path) -> None:
        source = FORMS[form](tree(), tmp_path)
        before = snapshot(tmp_path)
        read(source)
        assert snapshot(tmp_path) == before

    def test_hand_over_is_that_of_the_folder(self, form: str, tmp_path: Path) -> None:
        files = tree()
        source = FORMS[form](files, tmp_path)
        expected = fetched(as_folder(files, tmp_path / "plain"), tmp_path / "expected")
        manifest = fetched(source, tmp_path / "raw")
        shard = (tmp_path / "raw/images-000.zip").read_bytes()
        assert shard == (tmp_path / "expected/images-000.zip").read_bytes()
        pd.testing.assert_frame_equal(
            manifest.drop(columns="source"), expected.drop(columns="source")
        )
        assert set(manifest["source"]) == {source.name}


class TestManifest:
    def test_describes_the_images_in_the_zip(self, tmp_path: Path) -> None:
        files = tree(per_class=3)
        manifest = fetched(as_zip(files, tmp_path / "a.zip"), tmp_path / "raw")
        assert list(manifest.columns) == fetch.MANIFEST
        assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [
            "images-000.zip",
            "manifest.csv",
        ]
        assert list(manifest["id"]) == sorted(files)
        with zipfile.ZipFile(tmp_path / "raw/images-000.zip") as archive:
            assert archive.namelist() == list(manifest["id"])
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            for row in manifest.itertuples():
                content = archive.read(row.id)
                assert content == files[row.id]
                assert hashlib.sha256(content).hexdigest() == row.sha256
                assert len(content) == row.bytes
                assert row.id.split("/")[:2] == [row.split, manifest.at[row.Index, "class"]]
        assert set(manifest["donor"]) == {""}

    @pytest.mark.parametrize("form", ["folder", "tar.gz"])
    def test_same_bytes_twice(self, form: str, tmp_path: Path) -> None:
        source = FORMS[form](tree(), tmp_path)
        fetched(source, tmp_path / "one")
        for file in (tmp_path / "images").rglob("*.png"):
            file.touch()
        fetched(source, tmp_path / "two")
        one, two = snapshot(tmp_path / "one"), snapshot(tmp_path / "two")
        assert {name: content for name, (content, _) in one.items()} == {
            name: content for name, (content, _) in two.items()
        }

    def test_drawn_images_do_not_depend_on_the_number_of_processes(self, tmp_path: Path) -> None:
        for workers in (1, 2):
            fetch.run(settings("phantom"), seed=3, workers=workers, out=tmp_path / str(workers))
        one, two = snapshot(tmp_path / "1"), snapshot(tmp_path / "2")
        assert [content for content, _ in one.values()] == [content for content, _ in two.values()]
        manifest = pd.read_csv(tmp_path / "1/manifest.csv")
        assert manifest["class"].nunique() == 12
        assert manifest["donor"].notna().all()

    @pytest.mark.parametrize(("name", "most"), [("SHARD_BYTES", 1500), ("SHARD_IMAGES", 4)])
    def test_shards_of_limited_size(
        self, name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetch, name, most)
        manifest = fetched(as_folder(tree(), tmp_path / "images"), tmp_path / "raw")
        assert manifest["file"].nunique() > 2
        assert manifest["file"].is_monotonic_increasing
        for file, rows in manifest.groupby("file"):
            with zipfile.ZipFile(tmp_path / "raw" / str(file)) as archive:
                assert archive.namelist() == list(rows["id"])

    def test_classes_come_from_the_data(self, tmp_path: Path) -> None:
        files = {f"class {n}/{k}.png": picture(n * 10 + k) for n in range(5) for k in range(2)}
        manifest = fetched(as_folder(files, tmp_path / "images"), tmp_path / "raw")
        assert sorted(set(manifest["class"])) == [f"class {n}" for n in range(5)]

    def test_one_class_is_an_error(self, tmp_path: Path) -> None:
        source = as_folder({"liver/a.png": picture(1)}, tmp_path / "images")
        with pytest.raises(InputError, match=r"expected two classes or more\. Received: liver"):
            fetched(source, tmp_path / "raw")
        assert not (tmp_path / "raw").exists()

    def test_error_halfway_leaves_the_output_as_it_was(self, tmp_path: Path) -> None:
        out = tmp_path / "out/raw"
        fetched(as_folder(tree(), tmp_path / "images"), out)
        before = snapshot(tmp_path / "out")
        damaged = as_zip(tree(), tmp_path / "a.zip", compression=zipfile.ZIP_STORED)
        content = bytearray(damaged.read_bytes())
        last = content.rindex(b"IDAT")
        content[last + 20] ^= 255
        damaged.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.zip: expected to read .*Received: Bad CRC"):
            fetched(damaged, out)
        assert snapshot(tmp_path / "out") == before
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["raw"]


class TestSeveral:
    def parts(self, folder: Path) -> list[Path]:
        """Archives of three kinds that each hold a part of one tree."""
        names = sorted(tree())
        parts = [{name: tree()[name] for name in names[start::3]} for start in range(3)]
        folder.mkdir(parents=True, exist_ok=True)
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

    def test_hand_over_is_that_of_the_folder(self, tmp_path: Path) -> None:
        parts = self.parts(tmp_path / "parts")
        manifest = fetched(tmp_path / "parts", tmp_path / "raw")
        fetched(parts, tmp_path / "list")
        fetched(as_folder(tree(), tmp_path / "plain"), tmp_path / "expected")
        shards = [
            (tmp_path / o / "images-000.zip").read_bytes() for o in ("raw", "list", "expected")
        ]
        assert shards[0] == shards[1] == shards[2]
        assert set(manifest["source"]) == {"1.zip", "2.tar", "3.tar.gz"}

    def test_layout_is_read_off_all_together(self, tmp_path: Path) -> None:
        # On its own the second would be classes without a test set.
        first = as_zip({"train/liver/a.png": picture(1)}, tmp_path / "1.zip")
        second = as_zip({"liver/b.png": picture(2)}, tmp_path / "2.zip")
        with pytest.raises(
            InputError, match=r"1\.zip \+ .*2\.zip: .*elsewhere, e\.g\. liver/b\.png"
        ):
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

    def test_same_id_below_two_folders_of_one_source(self, tmp_path: Path) -> None:
        files = {"a/liver/1.png": picture(1), "b/liver/1.png": picture(2)}
        with pytest.raises(InputError, match=r"liver/1\.png that differs"):
            read(as_folder(files, tmp_path / "images"))

    def test_names_that_differ_in_case_alone_are_one(self, tmp_path: Path) -> None:
        first = as_zip({"liver/b.png": picture(1), "colon/a.png": picture(2)}, tmp_path / "1.zip")
        same = as_zip({"liver/B.png": picture(1)}, tmp_path / "2.zip")
        assert list(read(first, same)) == ["colon/a.png", "liver/b.png"]
        other = as_zip({"liver/B.png": picture(3)}, tmp_path / "3.zip")
        with pytest.raises(InputError, match=r"3\.zip: .*liver/B\.png that differs .*1\.zip"):
            read(first, other)


class TestDigests:
    def test_right_digest(self, tmp_path: Path) -> None:
        source = as_zip(tree(), tmp_path / "a.zip")
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        assert read(source, sha256={"a.zip": digest}) == tree()
        assert len(fetched(source, tmp_path / "raw", sha256={"a.zip": digest})) == len(tree())

    def test_wrong_digest(self, tmp_path: Path) -> None:
        source = as_zip(tree(), tmp_path / "a.zip")
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        message = rf"a\.zip: expected sha256 {'0' * 64}\. Received: {digest}"
        with pytest.raises(InputError, match=message):
            read(source, sha256={"a.zip": "0" * 64})

    def test_unknown_name(self, tmp_path: Path) -> None:
        source = as_zip(tree(), tmp_path / "a.zip")
        with pytest.raises(InputError, match=r"fetch\.sha256: .*Received: b\.zip"):
            read(source, sha256={"b.zip": "0" * 64})

    def test_is_checked_before_anything_is_opened(self, tmp_path: Path) -> None:
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

    def test_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"expected images .*Received: none"):
            read(tmp_path)

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

    def test_empty_list(self) -> None:
        with pytest.raises(InputError, match=r"expected images .*Received: none"):
            read()

    @pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
    @pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "other kind"])
    def test_damaged_archive(self, form: str, damage: str, tmp_path: Path) -> None:
        source = FORMS[form](tree(), tmp_path)
        content = source.read_bytes()
        other = as_tar(tree(), tmp_path / "x.tar") if form == "zip" else as_zip(
            tree(), tmp_path / "x.zip"
        )  # fmt: skip
        source.write_bytes(
            {
                "empty": b"",
                "garbage": np.random.default_rng(1).bytes(3000),
                "cut": content[: len(content) // 2 - 100],
                "other kind": other.read_bytes(),
            }[damage]
        )
        with pytest.raises(InputError, match=r"images\.(zip|tar|tar\.gz): expected"):
            read(source)

    @pytest.mark.parametrize("form", ["zip", "stored zip", "tar.gz"])
    def test_any_flipped_byte_is_noticed_or_harmless(self, form: str, tmp_path: Path) -> None:
        files = {f"liver/{number}.png": picture(number) for number in range(4)}
        source = FORMS[form](files, tmp_path)
        content = source.read_bytes()
        for position in range(0, len(content), 7):
            damaged = bytearray(content)
            damaged[position] ^= 0x5A
            source.write_bytes(damaged)
            try:
                received = read(source)
            except InputError:
                continue
            # Names, dates and the like may have changed, the images not.
            assert set(received.values()) <= set(files.values()), position

    def test_encrypted_zip(self, tmp_path: Path) -> None:
        source = as_zip(tree(), tmp_path / "a.zip")
        content = bytearray(source.read_bytes())
        # The flag bit for encryption, in each local and each central header.
        for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            at = content.find(signature)
            while at >= 0:
                content[at + offset] |= 1
                at = content.find(signature, at + 1)
        source.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.zip: expected to read .*encrypted"):
            read(source)

    def test_links_in_a_tar_are_left_out(self, tmp_path: Path) -> None:
        source = as_tar(tree(), tmp_path / "a.tar")
        with tarfile.open(source, "a") as archive:
            link = tarfile.TarInfo("train/liver/link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)
        assert read(source) == tree()

    def test_names_that_climb_out_of_the_archive_write_nothing(self, tmp_path: Path) -> None:
        files = tree() | {"../../outside/liver/a.png": picture(7)}
        source = as_zip(files, tmp_path / "deep/down/a.zip")
        with pytest.raises(InputError, match=r"a\.zip: .*'\.\./\.\./outside/liver/a\.png'.*attack"):
            read(source)
        assert list(snapshot(tmp_path)) == ["deep/down/a.zip"]

    def test_source_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        source = as_folder(tree(), tmp_path / "images")
        for folder in [source, *(path for path in source.rglob("*") if path.is_dir())]:
            folder.chmod(0o555)
        try:
            assert read(source) == tree()
        finally:
            for folder in [source, *(path for path in source.rglob("*") if path.is_dir())]:
                folder.chmod(0o755)
            shutil.rmtree(source)


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
def test_real_tiles_in_several_zips() -> None:
    with ExitStack() as closing:
        images = list_images([str(SHARED / "tiles")], sha256={}, limits=LIMITS, closing=closing)
        assert len({image.origin for image in images}) > 1
        assert len({image.place.class_name for image in images}) > 2
        with Image.open(io.BytesIO(next(iter(images)).read())) as image:
            image.verify()


def test_no_space_to_inflate_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    path = as_tar(tree(), tmp_path / "a.tar.gz")
    monkeypatch.setattr(archives.tempfile, "TemporaryFile", Full)
    with pytest.raises(InputError, match=r"a\.tar\.gz: expected space in .*TMPDIR"):
        read(path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["training/a/1.png", "testing/a/2.png"], "the folders train and test.*testing, training"),
        (["training/a/1.png", "Validation/a/2.png"], "Rename Validation, training"),
        (["a/p1/1.png", "a/p2/2.png", "b/p3/3.png"], "Received: a, b, and below them p1, p2, p3"),
        (
            ["train/a/p1/1.png", "train/b/p1/2.png", "test/a/p2/3.png"],
            "Received: some in test/a/p2",
        ),
        (["train/a/p1/1.png", "train/b/p2/2.png"], "Received: some in train/a/p1"),
        (
            ["colon/he/1.png", "colon/ihc/2.png", "liver/he/3.png", "liver/ihc/4.png"],
            "Received: colon, liver, which are tissues, and below them he, ihc. If the upper",
        ),
        (["train/1.png", "test/2.png"], "expected images as train/<class>/<image>"),
    ],
)
def test_folders_above_that_would_be_lost(names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_layout(names, source="x")


def test_images_that_lie_where_fetch_writes_are_not_lost(tmp_path: Path) -> None:
    source = as_folder(tree(), tmp_path / "raw")
    with pytest.raises(InputError, match=r"fetch\.source: expected images that lie elsewhere"):
        fetch.run(settings(source), seed=1, workers=1, out=tmp_path / "raw")
    assert len(list(source.rglob("*.png"))) == len(tree())


@pytest.mark.parametrize(
    "names",
    [
        ["one/a/1.png", "one/b/2.png", "two/a/3.png", "two/b/4.png"],
        ["part1/a/1.png", "part2/b/2.png"],
        ["validation/a/1.png", "validation/b/2.png"],
        ["lung/adeno/1.png", "lung/benign/2.png"],
        ["a/1.png", "b/2.png"],
    ],
)
def test_folders_above_that_say_nothing(names: list[str]) -> None:
    assert not check_layout(names, source="x")
