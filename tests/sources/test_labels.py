"""Classes from a table: `fetch.labels`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.source_examples import PARAMS, Tree, as_folder, as_zip, manifest_of, picture
from tissue.common.errors import InputError
from tissue.config.fetch import Labels
from tissue.sources.local import list_images

FILES: Tree = {f"train_images/{n:02}.png": picture(n) for n in range(6)}
ROWS = "image_id,dx,fold,patient\n" + "".join(
    f"{n:02},{'mel' if n % 2 else 'nev'},{'Test' if n > 3 else 'training'},P{n // 2}\n"
    for n in range(6)
)


def fetched(table: str, folder: Path, source: Path, **columns: Any) -> pd.DataFrame:
    path = folder / "labels.csv"
    path.write_bytes(table.encode("utf-8"))
    labels = Labels(**{"table": str(path), "image": "image_id", "label": "dx", **columns})
    return manifest_of(source, folder, labels=labels).set_index("id")


def listed(table: str, folder: Path, files: Tree, **columns: Any) -> list[str]:
    """The ids of the images that have a row."""
    (folder / "labels.csv").write_text(table)
    labels = Labels(
        **{"table": str(folder / "labels.csv"), "image": "image_id", "label": "dx", **columns}
    )
    source = as_folder(files, folder / "images")
    with ExitStack() as closing:
        limits = PARAMS.fetch.limits
        found = list_images([source], sha256={}, limits=limits, closing=closing, labels=labels)
        return [image.id for image in found]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_table_beside_a_flat_source(form: str, tmp_path: Path) -> None:
    make = as_folder if form == "folder" else as_zip
    source = make(FILES, tmp_path / ("images" if form == "folder" else "images.zip"))
    found = fetched(ROWS, tmp_path, source, split="fold", group="patient")
    assert len(found) == 6
    assert found.loc["train/00.png", ["split", "class", "donor"]].tolist() == ["train", "nev", "P0"]
    assert found.loc["test/05.png", ["split", "class", "donor"]].tolist() == ["test", "mel", "P2"]
    plain = fetched(ROWS, tmp_path, source)
    assert plain.loc["05.png", ["split", "class", "donor"]].tolist() == ["", "mel", ""]


def test_a_carriage_return_in_a_cell_ends_no_row(tmp_path: Path) -> None:
    rows = ["image_id,dx,patient", '00.png,a,"P\r0"', '01.png,"b\r",P1']
    source = as_folder({name: FILES[name] for name in sorted(FILES)[:2]}, tmp_path / "images")
    found = fetched("\n".join(rows), tmp_path, source, group="patient")
    assert found["donor"].tolist() == [r"P\r0", "P1"]
    assert found["class"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "form", ["{:02}", "{:02}.png", "{:02}.jpg", "train_images/{:02}.png", "./{:02}"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_ways_to_name_an_image(form: str, separator: str, tmp_path: Path) -> None:
    rows = ["\ufeffimage_id,dx"] + [f"{form.format(n)},{'ab'[n % 2]}" for n in range(6)]
    table = "\r\n".join(rows).replace(",", separator)
    source = as_folder(FILES, tmp_path / "images")
    assert fetched(table, tmp_path, source)["class"].tolist() == ["a", "b"] * 3


def test_what_does_not_match_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "image_id,dx\n00,a\n01,b\n77,a\n88,b\n03,\n"
    assert listed(table, tmp_path, FILES) == ["00.png", "01.png"]
    printed = capsys.readouterr().out
    assert "2 images, read as <image> with a row in" in printed
    assert "left out: 4 images (e.g. train_images/02.png, train_images/03.png," in printed
    assert "no image for 2 rows (e.g. 77, 88)" in printed


# As in the ground truth of ISIC 2018 and 2019, and as pandas.get_dummies writes them
@pytest.mark.parametrize(("one", "zero"), [("1.0", "0.0"), ("1", "0"), ("True", "False")])
def test_a_column_for_each_class(one: str, zero: str, tmp_path: Path) -> None:
    rows = ["image_id,MEL,NV,UNK"]
    rows += [f"{n:02},{one if n % 2 else zero},{zero if n % 2 else one},{zero}" for n in range(6)]
    source, columns = as_folder(FILES, tmp_path / "images"), ["MEL", "NV", "UNK"]
    found = fetched("\n".join(rows), tmp_path, source, label=columns)
    assert found["class"].tolist() == ["NV", "MEL"] * 3
    named = {"MEL": "melanoma", "NV": "nevus", "UNK": "other"}
    found = fetched("\n".join(rows), tmp_path, source, label=columns, names=named)
    assert found["class"].tolist() == ["nevus", "melanoma"] * 3


@pytest.mark.parametrize(
    ("row", "received"),
    [("1,1", "'1', '1'"), ("0,0", "'0', '0'"), ("0.7,0.3", "'0.7', '0.3'"), ("1,", "'1', ''")],
)
def test_a_row_with_another_number_of_classes_than_one(
    row: str, received: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"a 1 in one of the columns.*: {received} in row 3\."):
        listed(f"image_id,a,b\n00,0,1\n01,{row}\n", tmp_path, FILES, label=["a", "b"])


def test_names_of_labels_that_are_numbers(tmp_path: Path) -> None:
    table = "image_id, label\n" + "".join(f"{n:02}, {n % 2}\n" for n in range(6))
    source = as_folder(FILES, tmp_path / "images")
    found = fetched(table, tmp_path, source, label="label", names={0: "normal", 1: "tumour"})
    assert found["class"].tolist() == ["normal", "tumour"] * 3
    with pytest.raises(InputError, match=r"labels\.names: expected a name for each.*none for '1'"):
        fetched(table, tmp_path, source, label="label", names={0: "normal"})


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("image_id,dx\nx,a\n", {}, r"expected the names of the images .* 'x' for 'train_images/00"),
        ("image_id,dx\n00,a\n00,b\n", {}, r"one row for each image.* several for '00'"),
        ("image_id,dx\n00.png,a\n00.jpg,b\n", {"image": "dx"}, "expected the names of the images"),
        ("id,dx\n00,a\n", {}, r"fetch\.labels\.image: .*'image_id'; the columns are 'id', 'dx'"),
        ("image_id,dx,fold\n00,a,0\n01,b,1\n", {"split": "fold"}, r"splits called.*Received: '0'"),
        ("image_id,a\n00,1\n", {"label": ["a", "b"]}, r"fetch\.labels\.label: .*Received: 'b'"),
        ("image_id,dx\n,\n", {}, r"expected rows with an image and a label.*1 rows"),
        ("image_id,dx\n00,Liver\n01,liver\n", {}, r"one spelling of each class"),
    ],
)
def test_wrong_tables(table: str, columns: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        listed(table, tmp_path, FILES, **columns)


def test_two_images_of_one_row(tmp_path: Path) -> None:
    files = FILES | {"other/00.png": picture(50)}
    with pytest.raises(InputError, match=r"one image for each row.*other/00\.png and train_images"):
        listed("image_id,dx\n00,a\n01,b\n", tmp_path, files)
    with pytest.raises(InputError, match=r"several for other/00\.png"):
        listed("image_id,dx\n00.jpg,a\n00.tif,b\n01,b\n", tmp_path, files)


def test_table_that_is_missing_or_no_text(tmp_path: Path) -> None:
    source = as_folder(FILES, tmp_path / "images")
    labels = Labels(table=str(tmp_path / "nowhere.csv"), image="a", label="b")
    with pytest.raises(InputError, match=r"fetch\.labels\.table: .*nowhere\.csv, which does not"):
        manifest_of(source, tmp_path, labels=labels)
    (tmp_path / "nowhere.csv").write_bytes("image_id,dx\n00,Ä\n".encode("cp1252"))
    with pytest.raises(
        InputError, match=r"expected a CSV file in UTF-8.*In Excel, save it as 'CSV UTF-8'"
    ):
        manifest_of(source, tmp_path, labels=labels)


def test_a_flat_source_beside_a_table_leads_to_the_parameter(tmp_path: Path) -> None:
    source = as_folder({**FILES, "train.csv": ROWS.encode()}, tmp_path / "images")
    with pytest.raises(
        InputError,
        match=r"two classes or more.*Tables .*: train\.csv\. .*-S 'fetch\.labels={table: ",
    ):
        manifest_of(source, tmp_path)
    both = as_folder({"test_images/9.png": picture(9)}, source)
    with pytest.raises(InputError, match=r"Tables beside .*: train\.csv\. .*fetch\.labels"):
        manifest_of(both, tmp_path)
