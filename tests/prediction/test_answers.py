"""What `predict` answers: rows, lines and figures."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tissue.common.errors import InputError
from tissue.prediction import heat
from tissue.prediction.answers import RANKS, answer_line, answer_row, answers_table
from tissue.prediction.inputs import Picture

CLASSES = ("colon", "kidney", "liver", "lung")
PICTURE = Picture("a.jpg", tissue=0.3)


class TestRows:
    def test_the_three_most_probable(self) -> None:
        row = answer_row(PICTURE, np.array([0.1, 0.2, 0.6, 0.1], np.float32), CLASSES, distance=0.5)
        assert [row[rank] for rank in RANKS] == ["liver", "kidney", "colon"]
        assert answer_line(row) == "a.jpg: liver 60.0%, kidney 20.0%, colon 10.0%"

    def test_two_classes_alone(self) -> None:
        row = answer_row(PICTURE, np.array([0.3, 0.7]), CLASSES[:2], distance=0.5)
        assert answer_line(row) == "a.jpg: kidney 70.0%, colon 30.0%"
        assert answers_table([row])["third"].isna().all()

    def test_a_refused_picture_has_a_reason_and_no_class(self) -> None:
        row = answer_row(PICTURE, np.eye(4)[0], CLASSES, distance=1.2)
        assert "predicted" not in row
        expected = "a.jpg: refused: unlike the training images: distance 1.20, at most 1 is usual"
        assert answer_line(row) == expected
        row = answer_row(PICTURE._replace(tissue=0.001), np.eye(4)[0], CLASSES, distance=0.9)
        assert row["refused"].startswith("nearly no tissue: 0.1%")


class TestFigures:
    def test_long_names_are_shortened_and_stay_different(self) -> None:
        long = "\N{CJK UNIFIED IDEOGRAPH-809D}" * 80  # three bytes each
        names = [f"a/{long}{i}.jpg" for i in range(2)]
        short = {heat._file_name(name) for name in names}
        assert len(short) == 2
        assert all(name.startswith("a/") and len(name.encode()) <= 202 for name in short)
        assert heat._file_name("a/b.jpg") == "a/b.jpg"

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
            heat.check_has_maps(network)
