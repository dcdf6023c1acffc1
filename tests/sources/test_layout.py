"""Layouts of folders: which are understood, and which are refused."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tissue.common.errors import InputError
from tissue.sources.archives import is_archive
from tissue.sources.file_names import is_image, reason_left_out
from tissue.sources.folder_names import split_word
from tissue.sources.layout import Layout, read_layout

Found = tuple[str, str, str]


def layout_of(names: Iterable[str], class_level: int | None = None) -> Layout:
    images = sorted(name for name in names if is_image(name))
    return read_layout(images, source="the source", class_level=class_level)


def parse(names: Iterable[str], class_level: int | None = None) -> dict[str, Found]:
    """Id, split and class of each image, among the files of a source."""
    names = list(names)
    layout = layout_of(names, class_level)
    parsed = {name: layout.parse(name) for name in names if is_image(name)}
    return {name: one[:3] for name, one in parsed.items() if one is not None}


def classes(names: Iterable[str], class_level: int | None = None) -> set[str]:
    return {name for _, _, name in parse(names, class_level).values()}


@pytest.mark.parametrize("prefix", ["", "anything/", "a/b/c/", "./"])
@pytest.mark.parametrize("split", ["train", "Train", ""])
def test_layout_below_any_folder(prefix: str, split: str) -> None:
    name = f"{prefix}{split}/liver/a.jpg" if split else f"{prefix}liver/a.jpg"
    expected = ("train/liver/a.jpg", "train", "liver") if split else ("liver/a.jpg", "", "liver")
    assert parse([name]) == {name: expected}


@pytest.mark.parametrize(
    "path",
    [
        "a.jpg", "a.JPEG", "a.png", "a.tif", "a.tiff", "a.bmp", "a.webp", "x y/ä é.PNG",
        "a.jfif", "a.jpe", "a.jp2", "a.avif", "a.HEIC",
    ],
)  # fmt: skip
def test_images(path: str) -> None:
    assert is_image(path)


@pytest.mark.parametrize(
    "path",
    [
        "a.txt", "a", "Thumbs.db", ".hidden.jpg", "liver/._a.jpg", ".git/liver/a.jpg",
        "__MACOSX/train/liver/a.jpg", "train/__MACOSX/a.jpg", "a.jpg.txt",
        "liver/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/liver/a.png", "$RECYCLE.BIN/a.png",
        "lost+found/a.png", "System Volume Information/a.png", "~$a.jpg",
        "liver/.ipynb_checkpoints/a-checkpoint.png",
    ],
)  # fmt: skip
def test_other_files(path: str) -> None:
    assert not is_image(path)


@pytest.mark.parametrize("suffix", ["nd2", "gif", "czi", "nef"])
def test_pictures_that_nothing_here_reads_are_named(suffix: str) -> None:
    assert reason_left_out(f"liver/a.{suffix}") == f".{suffix} file, which is not read"


def test_archive_names() -> None:
    names = ["a.zip", "a.ZIP", "a.tar", "a.tar.gz", "a.tgz", "b.c.tar.gz"]
    assert all(is_archive(Path(name)) for name in names)
    others = ["a.gz", "a.7z", "a.rar", "zip", "._a.zip", "a.jpg"]
    assert not any(is_archive(Path(name)) for name in others)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train", "TRAIN", "Training", "training_set", "trainset", "seg_train",
                   "TrainData", "train images", "2-train", "train1"]),
        ("val", ["val", "Valid", "validation", "valid_set", "Validation-Set", "X_VAL"]),
        ("dev", ["dev", "development", "dev_set"]),
        ("test", ["test", "Testing", "test_set", "seg_test", "holdout", "hold-out", "held out",
                  "Hold_Out_1", "testdata"]),
        ("", ["contest", "trainer", "latest", "value", "device",
              "train_val", "tested", ""]),
    ],
)  # fmt: skip
def test_names_of_splits(split: str, names: list[str]) -> None:
    assert {name: split_word(name) for name in names} == dict.fromkeys(names, split)


SPLITS = [
    ("{}", {"train": "train", "test": "test"}),
    ("{}", {"Train": "train", "Valid": "val", "TEST": "test"}),
    ("{}", {"training_set": "train", "test_set": "test"}),
    ("seg_{0}/seg_{0}", {"train": "train", "test": "test"}),
    ("{}", {"dev": "train", "holdout": "test"}),
    ("{}", {"train": "train", "dev": "val", "test": "test"}),
    ("data/{}", {"TrainData": "train", "validation_data": "val"}),
]


@pytest.mark.parametrize(("form", "folders"), SPLITS)
def test_folders_of_splits(form: str, folders: dict[str, str]) -> None:
    names = {
        f"{form.format(folder)}/{name}/1.png": (f"{split}/{name}/1.png", split, name)
        for folder, split in folders.items()
        for name in ("cats", "dogs")
    }
    assert parse(names) == names


def test_splits_below_the_classes() -> None:
    names = [f"{name}/{split}/1.png" for name in "ab" for split in ("train", "test")]
    assert parse(names)["b/test/1.png"] == ("test/b/1.png", "test", "b")


def test_a_class_may_be_called_train() -> None:
    assert classes(["bus/1.png", "car/2.png", "train/3.png"]) == {"bus", "car", "train"}
    below = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("bus", "train")]
    assert classes(below) == {"bus", "train"}


def test_equal_names_below_different_folders_do_not_clash() -> None:
    centres = [f"{centre}/train/a/1.png" for centre in ("c1", "c2")]
    assert {id_ for id_, *_ in parse(centres).values()} == {"train/c1/a/1.png", "train/c2/a/1.png"}
    twice = ["train1/a/1.png", "train2/a/1.png", "test/a/1.png"]
    assert len({id_ for id_, *_ in parse(twice).values()}) == 3
    patients = [f"{patient}/{name}/1.png" for patient in ("P1", "P2") for name in "ab"]
    assert {id_ for id_, *_ in parse(patients, class_level=2).values()} == set(patients)


def test_masks_beside_images_are_left_out() -> None:
    names = [f"{name}/{kind}/1.png" for name in ("COVID", "Normal") for kind in ("images", "masks")]
    found = parse(names)
    assert set(found) == {"COVID/images/1.png", "Normal/images/1.png"}
    assert {name for *_, name in found.values()} == {"COVID", "Normal"}
    assert layout_of(names).describe()[-1] == "  left out: 2 masks beside images"
    above = [f"{kind}/{name}/1.png" for name in ("a", "b") for kind in ("images", "Masks")]
    assert classes(above) == {"a", "b"}
    assert len(parse(above)) == 2


BREAST = [f"{name}/{zoom}/{n}.png" for name in ("benign", "malignant") for zoom in ("40X", "100X")
          for n in "12"]  # fmt: skip


class TestClassLevel:
    def test_several_readings_are_shown(self) -> None:
        message = (
            r"^the source: expected one level .* several readings:\n"
            r"  fetch\.class_level: 1 means 2 classes: benign, malignant; benign/100X/1\.png is of "
            r"benign\n  fetch\.class_level: 2 means 2 classes: 100X, 40X; .* is of 100X\nSet it"
        )
        with pytest.raises(InputError, match=message):
            parse(BREAST)

    def test_the_parameter_chooses(self) -> None:
        assert classes(BREAST, 1) == {"benign", "malignant"}
        assert classes(BREAST, 2) == {"40X", "100X"}
        assert {id_ for id_, *_ in parse(BREAST, 1).values()} == set(BREAST)

    def test_levels_are_counted_below_shared_folders_and_splits(self) -> None:
        deep = [f"B/slides/{name}" for name in BREAST]
        assert classes(deep, 1) == {"benign", "malignant"}
        both = [f"x/{split}/{name}" for split in ("train", "test") for name in BREAST]
        assert classes(both, 1) == {"benign", "malignant"}
        assert classes(both, 2) == {"40X", "100X"}

    def test_images_at_several_depths(self) -> None:
        names = ["liver/a.jpg", "liver/more/b.jpg", "skin/c.jpg"]
        message = r"images of a class in several folders:\n  fetch\.class_level: 1 means 2 classes"
        with pytest.raises(InputError, match=message):
            parse(names)
        assert classes(names, 1) == {"liver", "skin"}
        with pytest.raises(InputError, match=r"class_level: expected at most 1, .*Received: 2"):
            parse(names, 2)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "expected images .*Received: none"),
        (["train/liver/readme.txt"], "expected images .*Received: none"),
        (["a.jpg"], r"expected every image as <class>/<image>.*1 elsewhere, e\.g\. a\.jpg"),
        (["train/liver/a.jpg", "b.jpg"], r"train/<class>/<image> and test.*elsewhere.*b\.jpg"),
        (["train/liver/a.jpg", "train/b.jpg"], r"elsewhere, e\.g\. train/b\.jpg"),
        (
            ["seg_train/a/1.png", "seg_test/a/2.png", "seg_pred/3.png"],
            r"1 elsewhere, e\.g\. seg_pred/3\.png",
        ),
        (["a/p1/1.png", "a/p2/2.png", "b/p3/3.png"], "1 means 2 classes: a, b.*2 means 3 classes"),
        (["train/a/p1/1.png", "train/b/p1/2.png", "test/a/p2/3.png"], "several readings"),
        (["train/1.png", "test/2.png"], "expected every image as train/<class>/<image>"),
        (["train_images/1.png", "test_images/2.png"], "expected every image as train/<class>"),
        (["one/a/1.png", "one/b/2.png", "two/a/3.png", "two/b/4.png"], "1 means 2 .*: one, two"),
    ],
)
def test_wrong_layout(paths: list[str], message: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)^the source: .*{message}"):
        parse(paths)


@pytest.mark.parametrize(
    "names",
    [
        ["part1/a/1.png", "part2/b/2.png"],
        ["validation/a/1.png", "validation/b/2.png"],
        ["lung/a/1.png", "lung/b/2.png"],
        ["a/1.png", "b/2.png"],
        ["a/images/1.png", "b/images/2.png"],
    ],
)
def test_one_reading(names: list[str]) -> None:
    assert classes(names) == {"a", "b"}
    assert {split for _, split, _ in parse(names).values()} == {""}


@pytest.mark.parametrize(
    "names",
    [
        ["Liver", "liver"],
        ["lymph node", "lymph_node", "Lymph-node "],
        ["liver", "liv\u200ber"],
        ["ﬁbrosis", "fibrosis"],
        ["liver", "liver\ufe0f"],
        ["lymph\u00a0node", "lymph\u2010node"],
    ],
)
def test_one_class_in_several_spellings(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"expected one spelling of each class\. Received: '"):
        parse([f"{name}/1.png" for name in (*names, "skin")])


def test_names_that_readers_tell_apart_are_classes() -> None:
    names = {"CD4+", "CD4-", "grade 1", "grade 2", "肝臓", "肝", "HER2 0", "HER2 1"}
    assert classes(f"{name}/1.png" for name in names) == names


def test_the_tree_has_the_numbers_of_each_split_and_class() -> None:
    names = [f"training_set/{name}/{n}.png" for name in ("a", "b") for n in range(3)]
    names += ["test_set/a/1.png", "val/b/1.png", "val/b/2.png"]
    assert layout_of(names).describe() == [
        "9 images, read as <split>/<class>/<image>",
        "  train: 6", "    a: 3", "    b: 3", "  val: 2", "    b: 2", "  test: 1", "    a: 1",
    ]  # fmt: skip
    assert layout_of(BREAST, 1).describe() == [
        "8 images, read as <class>/<folder>/<image>",
        "  benign: 4 in 2 folders", "  malignant: 4 in 2 folders",
    ]  # fmt: skip


# The trees of public data sets, as their archives unpack: splits and classes, or what is asked
PUBLIC: dict[str, tuple[list[str], set[str] | str]] = {
    "brain tumour MRI": (
        ["Training/glioma/a.jpg", "Training/notumor/b.jpg", "Testing/glioma/c.jpg"],
        {"glioma", "notumor"},
    ),
    "COVID-19 radiography": (
        [f"COVID-19_Radiography_Dataset/{name}/{kind}/1.png"
         for name in ("COVID", "Normal", "Viral Pneumonia") for kind in ("images", "masks")],
        {"COVID", "Normal", "Viral Pneumonia"},
    ),
    "Intel scenes": (
        ["seg_train/seg_train/sea/1.jpg", "seg_test/seg_test/sea/1.jpg", "seg_pred/seg_pred/1.jpg"],
        "1 elsewhere, e.g. seg_pred/seg_pred/1.jpg. Move them or take them out",
    ),
    "malaria cells": (
        [f"cell_images/{above}{name}/1.png" for above in ("", "cell_images/")
         for name in ("Parasitized", "Uninfected")],
        "2 in cell_images/cell_images that also stand beside it, folder for folder",
    ),
}  # fmt: skip


def test_other_files_at_another_depth_are_no_copy() -> None:
    names = ["cell_images/a/1.png", "a/2.png", "cell_images/b/1.png", "b/2.png"]
    with pytest.raises(InputError, match="class_level: 1 means 3 classes: a, b, cell_images"):
        parse(names)


@pytest.mark.parametrize(
    "names", [("part1", "part2"), ("Batch_01", "batch_02"), ("images 1", "images 10")]
)
def test_parts_of_a_set_are_no_classes(names: tuple[str, ...]) -> None:
    files = [f"{name}/{number}.png" for name in names for number in range(2)]
    with pytest.raises(InputError, match=r"look like parts of one set.*class_level to 1"):
        parse(files)
    assert classes(files, class_level=1) == set(names)


@pytest.mark.parametrize("names", [("grade1", "grade2"), ("0", "1"), ("part_a", "part_b")])
def test_numbered_classes(names: tuple[str, ...]) -> None:
    assert classes([f"{name}/1.png" for name in names]) == set(names)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_data_sets(name: str) -> None:
    names, expected = PUBLIC[name]
    if isinstance(expected, str):
        with pytest.raises(InputError, match=re.escape(expected)):
            parse(names)
    else:
        assert classes(names) == expected
