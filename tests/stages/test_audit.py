"""The audit on drawn features, of which the right answer is known."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import audit
from tests.audit_examples import write_examples
from tests.pipeline import ROOT
from tissue.config.loading import load_params

OUTPUTS = ("metrics/audit.json", "plots/audit.csv", "plots/learning_curve.csv")


def measure(root: Path, donors: list[int], **drawn: Any) -> dict[str, Any]:
    """Draw examples and audit them."""
    write_examples(root, donors, **drawn)
    audit.run(load_params(ROOT / "params.yaml", {"advanced.audit.repeats": "1"}), root)
    return json.loads((root / "metrics/audit.json").read_text())


def test_a_careless_split_gains_by_what_donors_have_in_common(tmp_path: Path) -> None:
    alike = measure(tmp_path / "alike", [8] * 3, class_signal=0.3, donor_signal=2.0)
    assert alike["difference"]["careless"]["low"] > 0.1
    assert alike["accuracy"]["honest"]["accuracy"] < 0.7
    unlike = measure(tmp_path / "unlike", [8] * 3, class_signal=1.0)
    gap = unlike["difference"]["careless"]
    assert gap["low"] <= 0.02 <= gap["high"] + 0.02
    assert unlike["accuracy"]["honest"]["accuracy"] > 0.8


def test_crops_are_compared_with_the_whole_image_alone(tmp_path: Path) -> None:
    """Only the features of crops know the class."""
    measured = measure(tmp_path / "crops", [6] * 3, class_signal=2.0)
    assert measured["accuracy"]["honest"]["accuracy"] > 0.9
    assert measured["accuracy"]["whole_image"]["low"] <= measured["chance"] + 0.1
    assert measured["difference"]["whole_image"]["high"] < -0.3
    without = measure(tmp_path / "none", [6] * 3, class_signal=2.0, crops=False)
    assert "whole_image" not in without["accuracy"]
    assert without["accuracy"]["honest"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("planted", "found"), [({"colour": 40}, "colour"), ({"width": 20}, "size")]
)
def test_a_planted_shortcut_is_found_and_no_other(
    planted: dict[str, int], found: str, tmp_path: Path
) -> None:
    measured = measure(tmp_path, [6] * 4, class_signal=0.0, **planted)
    accuracy = measured["accuracy"]
    assert accuracy[found]["accuracy"] > 0.95
    assert accuracy["all_shortcuts"]["accuracy"] > 0.95
    assert ("size" in accuracy) == (found == "size")  # elsewhere all images have one size
    for name in {"colour", "tissue_and_blur"} - {found}:
        assert accuracy[name]["low"] < measured["chance"] + 0.1
    assert measured["difference"]["all_shortcuts"]["low"] > 0.5


def test_accuracy_grows_with_the_number_of_donors(tmp_path: Path) -> None:
    measured = measure(tmp_path, [12] * 3, class_signal=0.6, donor_signal=1.0)
    points = pd.read_csv(tmp_path / "plots/learning_curve.csv")
    assert points["groups"].iloc[0] == 1
    assert points["groups"].iloc[-1] == measured["learning_curve"]["groups"] == 9
    assert points["accuracy"].iloc[-1] > points["accuracy"].iloc[0] + 0.1
    assert ((points["low"] <= points["accuracy"]) & (points["accuracy"] <= points["high"])).all()
    curve = measured["learning_curve"]
    assert 0 < curve["doubled_low"] <= curve["doubled"] <= curve["doubled_high"]


def test_the_same_data_give_the_same_bytes_without_a_test_set(tmp_path: Path) -> None:
    measure(tmp_path, [6] * 3)
    first = [(tmp_path / name).read_bytes() for name in OUTPUTS]
    measure(tmp_path, [6] * 3)
    assert [(tmp_path / name).read_bytes() for name in OUTPUTS] == first
    assert not list(tmp_path.rglob("test*"))


def test_classes_with_one_donor_are_left_out_by_name(tmp_path: Path) -> None:
    measured = measure(tmp_path, [3, 1, 3])
    assert measured["left_out"] == {"class1": 4}
    assert measured["classes"] == 2
    assert measured["images"] == 24
    assert "learning_curve" not in measured  # three donors are too few


@pytest.mark.parametrize("donors", [[5, 1], [2, 1, 1]])
def test_too_few_donors_are_said_and_nothing_is_measured(
    donors: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = measure(tmp_path, donors)
    assert "accuracy" not in measured
    assert "two classes with two groups" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "plots/audit.csv").empty
    assert pd.read_csv(tmp_path / "plots/learning_curve.csv").empty


def test_unknown_donors_make_both_splits_alike(tmp_path: Path) -> None:
    measured = measure(tmp_path, [6] * 3, class_signal=0.3, donor_signal=2.0, known=False)
    assert measured["groups"] == measured["images"]
    assert (measured["folds"], measured["repeats"]) == (5, 1)
    assert abs(measured["difference"]["careless"]["value"]) < 0.15


def test_two_classes_two_donors_each(tmp_path: Path) -> None:
    measured = measure(tmp_path, [4, 2], class_signal=2.0)
    assert measured["accuracy"]["honest"]["accuracy"] > 0.8
    assert measured["chance"] == pytest.approx(4 / 6, abs=1e-4)
