"""Names of classes in figures: letters of other scripts, and long names."""

import warnings

import numpy as np
import pandas as pd
import pytest

from tissue.figures.confusion import confusion_matrix_figure
from tissue.figures.lettering import LONGEST, drawable, label_names
from tissue.figures.scatter import scatter_figure
from tissue.figures.sheets import sample_sheet
from tissue.figures.theme import png_bytes

NAMES = ["肝臓", "皮膚", "liver", "x" * 180 + "a", "x" * 180 + "b"]


def test_names_are_short_and_differ() -> None:
    labels = label_names(NAMES)
    assert max(map(len, labels.values())) <= LONGEST
    assert len(set(labels.values())) == len(NAMES)
    assert labels["liver"] == "liver"


def test_names_that_differ_in_what_is_left_out_are_numbered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The middle of long names, and sounds that two scripts write alike."""
    monkeypatch.setattr("tissue.figures.lettering.fallback", lambda letters: None)
    names = [*("a" * 30 + f"{one}" + "b" * 30 for one in range(12)), "か", "カ", "ka"]
    labels = label_names(names)
    assert len(set(labels.values())) == len(names)
    assert max(map(len, labels.values())) <= LONGEST
    assert [labels[name] for name in names[-3:]] == ["ka (1)", "ka (2)", "ka (3)"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("liver", "liver"), ("Ärger é ß Жук αβ", "Ärger é ß Жук αβ"), ("\U00013000x", "U+13000 x")],
)
def test_letters_that_no_font_has(
    name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tissue.figures.lettering.fallback", lambda letters: None)
    assert drawable(name) == expected
    assert drawable("かに") == "kani"


def test_no_figure_has_boxes_for_letters() -> None:
    actual = [name for name in NAMES for _ in range(3)]
    frame = pd.DataFrame({"split": "train", "class": actual, "x": range(15), "y": range(15)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = confusion_matrix_figure(actual, actual[::-1], sorted(NAMES), title="x")
        png_bytes(matrix)
        png_bytes(scatter_figure(frame, title="x", splits=["train"]))
    assert max(matrix.get_size_inches()) < 8


def test_the_sheet_of_samples_has_room_for_the_pictures() -> None:
    images = np.zeros((5, 32, 32, 3), np.uint8)
    index = pd.DataFrame({"id": list("abcde"), "class": NAMES})
    assert sample_sheet(images, index, per_class=1, seed=1).width < 400
