"""What `predict` answers: rows, lines and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
import pytest

from tissue.common.errors import InputError
from tissue.portable.running import Answer
from tissue.prediction import heat
from tissue.prediction.answers import (
    RANKS,
    answer_line,
    answer_row,
    append_answers,
    case_row,
    scale_warning,
)

CLASSES = ("colon", "kidney", "liver", "lung")


def row_of(
    probabilities: Sequence[float], *, distance: float, tissue: float = 0.3
) -> dict[str, Any]:
    answer = Answer(np.array(probabilities, np.float32), tissue, distance)
    return answer_row("a.jpg", answer, CLASSES[: len(probabilities)])


class TestRows:
    def test_the_three_most_probable(self) -> None:
        row = row_of([0.1, 0.2, 0.6, 0.1], distance=0.5)
        assert [row[rank] for rank in RANKS] == ["liver", "kidney", "colon"]
        assert answer_line(row) == "a.jpg: liver 60.0%, kidney 20.0%, colon 10.0%"

    def test_two_classes_alone_written_twice(self, tmp_path: Path) -> None:
        row = row_of([0.3, 0.7], distance=0.5)
        assert answer_line(row) == "a.jpg: kidney 70.0%, colon 30.0%"
        append_answers([row], tmp_path / "a.csv", new=True)
        append_answers([row], tmp_path / "a.csv", new=False)
        with pytest.raises(InputError, match="expected to be the only run that writes"):
            append_answers([row], tmp_path / "a.csv", new=True)
        table = pd.read_csv(tmp_path / "a.csv")
        assert table["predicted"].tolist() == ["kidney", "kidney"]
        assert table["third"].isna().all()

    def test_a_refused_picture_has_a_reason_and_no_class(self) -> None:
        row = row_of([1, 0, 0, 0], distance=1.2)
        assert "predicted" not in row
        expected = "a.jpg: refused: unlike the training images: distance 1.20, at most 1 is usual"
        assert answer_line(row) == expected
        row = row_of([1, 0, 0, 0], distance=0.9, tissue=0.001)
        assert row["refused"].startswith("nearly no tissue: 0.1%")


class TestCases:
    ANSWER: ClassVar = {"predicted": "liver", "confidence": 0.8}

    def test_refused_pictures_do_not_count(self) -> None:
        rows = [row_of([0.1, 0.2, 0.6, 0.1], distance=0.4) for _ in range(2)]
        rows.append(row_of([1, 0, 0, 0], distance=1.6))
        row = case_row("P1", rows, self.ANSWER)
        assert row["pictures"] == 2
        assert row["distance"] == pytest.approx(0.8)
        assert answer_line(row) == (
            "P1 (2 pictures): liver 80.0%; warning: 1 of 3 pictures refused, e.g. a.jpg: unlike "
            "the training images: distance 1.60, at most 1 is usual"
        )

    def test_a_case_of_refused_pictures_is_refused(self) -> None:
        rows = [row_of([1, 0, 0, 0], distance=1.6), {"id": "b.jpg", "refused": "cannot be read"}]
        row = case_row("P1", rows, {})
        assert "predicted" not in row
        assert row["distance"] == 1.6
        assert answer_line(row).startswith(
            "P1 (0 pictures): refused: all 2 pictures, e.g. a.jpg: unlike the training images"
        )
        assert case_row("P2", rows[1:], {})["refused"] == "b.jpg: cannot be read"
        assert "distance" not in case_row("P2", rows[1:], {})

    def test_pictures_of_another_scale_are_counted(self) -> None:
        rows = [row_of([0.1, 0.9], distance=0.4) | {"warning": text} for text in ("", "too large")]
        row = case_row("P1", rows, self.ANSWER)
        assert row["warning"] == "1 of 2 pictures of another scale, e.g. a.jpg too large"


@pytest.mark.parametrize(
    ("field", "trained", "warning"),
    [
        (100.0, [100.0, 120.0], ""),
        (92.0, [100.0, 120.0], ""),  # by less than a tenth
        (130.0, [100.0, 120.0], ""),
        (50.0, [100.0, 120.0], "2.0 times as large"),
        (360.0, [100.0, 120.0], "3.0 times as small"),
        (None, [100.0, 120.0], ""),
        (50.0, None, ""),
    ],
)
def test_scales_far_from_training_are_warned_of(
    field: float | None, trained: list[float] | None, warning: str
) -> None:
    found = scale_warning(field, trained)
    assert found.endswith(warning)
    assert bool(found) == bool(warning)


class TestFigures:
    def test_long_names_are_shortened_and_stay_different(self) -> None:
        long = "\N{CJK UNIFIED IDEOGRAPH-809D}" * 80  # three bytes each
        names = [f"a/{long}{i}.jpg" for i in range(2)]
        files = heat.FileNames()
        short = {files.name_for(name) for name in names}
        assert len(short) == 2
        assert all(name.startswith("a/") and len(name.encode()) <= 202 for name in short)
        assert files.name_for("a/b.jpg") == "a/b.jpg"
        assert files.name_for("/c/../b.jpg") == "c/b.jpg"
        assert len(files.name_for(f"{long}/b.jpg").split("/")[0].encode()) <= 200

    def test_pictures_whose_files_would_have_one_name(self) -> None:
        """Two sources of one name in other folders, and names that differ by case alone."""
        files = heat.FileNames()
        names = ["../one/a.jpg", "one/a.jpg", "/one/A.jpg"]
        made = [files.name_for(name) for name in names]
        assert len({name.casefold() for name in made}) == 3
        assert all(name.lower().startswith("one/a.jpg") for name in made)
        assert [files.name_for(name) for name in names] == made  # when one arrives again

    def test_a_name_is_drawn_as_it_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "core$1_$2.png"
        heat._draw(
            np.zeros((8, 8, 3), np.uint8), np.zeros((1, 28, 28), np.uint8), ["colon"], "$1", path
        )
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_one_class_has_no_other_to_be_explained_against(self) -> None:
        inputs = keras.Input((4,))
        network = keras.Model(inputs, keras.layers.Dense(1, activation="softmax")(inputs))
        with pytest.raises(InputError, match=r"two classes or more.*Received: one of 1"):
            heat._check_has_maps(network)
