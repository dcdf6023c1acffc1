"""Layouts of folders: which are understood, and which are refused."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tissue.common.errors import InputError
from tissue.sources.archives import is_archive
from tissue.sources.layout import ImagePath, check_layout, is_image, parse_path


def parse(names: Iterable[str]) -> dict[str, ImagePath]:
    """What the path of each image says, among the files of a source."""
    images = sorted(name for name in names if is_image(name))
    with_splits = check_layout(images, source="the source")
    return {name: parse_path(name, with_splits=with_splits) for name in images}


@pytest.mark.parametrize("prefix", ["", "anything/", "a/b/c/", "./"])
@pytest.mark.parametrize("split", ["train", "Train", ""])
def test_layout_below_any_folder(prefix: str, split: str) -> None:
    name = f"{prefix}{split}/liver/a.jpg" if split else f"{prefix}liver/a.jpg"
    expected = ("train/liver/a.jpg", "train", "liver") if split else ("liver/a.jpg", "", "liver")
    assert parse([name]) == {name: expected}


@pytest.mark.parametrize(
    "path", ["a.jpg", "a.JPEG", "a.png", "a.tif", "a.tiff", "a.bmp", "a.webp", "x y/ä é.PNG"]
)
def test_images(path: str) -> None:
    assert is_image(path)


@pytest.mark.parametrize(
    "path",
    [
        "a.txt", "a", "Thumbs.db", ".hidden.jpg", "liver/._a.jpg", ".git/liver/a.jpg",
        "__MACOSX/train/liver/a.jpg", "train/__MACOSX/a.jpg", "a.jpg.txt",
    ],
)  # fmt: skip
def test_other_files(path: str) -> None:
    assert not is_image(path)


def test_archive_names() -> None:
    names = ["a.zip", "a.ZIP", "a.tar", "a.tar.gz", "a.tgz", "b.c.tar.gz"]
    assert all(is_archive(Path(name)) for name in names)
    others = ["a.gz", "a.7z", "a.rar", "zip", "._a.zip", "a.jpg"]
    assert not any(is_archive(Path(name)) for name in others)


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
def test_wrong_layout(paths: list[str], message: str) -> None:
    with pytest.raises(InputError, match=rf"^the source: .*{message}"):
        parse(paths)


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
def test_harmless_folders_above_the_classes(names: list[str]) -> None:
    assert not check_layout(names, source="x")
