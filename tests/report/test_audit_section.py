"""What the page says about the audit, also where there was little to audit."""

from typing import Any

import pytest

from tests.report_examples import AUDIT
from tissue.report.audit import (
    crops_sentence,
    curve_sentence,
    left_out_sentence,
    shortcut_sentence,
    split_sentence,
)


def test_a_gap_is_explained_by_images_of_one_donor_on_both_sides() -> None:
    assert split_sentence(AUDIT, "donor") == (
        "720 training and validation images of 180 donors were cross-validated. A careless split, "
        "at random by image, would have claimed 85.0%. The split by donor finds 80.0%. Images of "
        "one donor on both sides of the split bring +5.0 points (95% interval +2.0 to +8.0)."
    )


def test_a_gap_that_may_be_chance_explains_nothing() -> None:
    audit = with_values(difference={"careless": {"value": 0.01, "low": -0.01, "high": 0.03}})
    assert split_sentence(audit, "donor").endswith("may be chance.")


def test_where_donors_are_not_known_the_split_is_not_called_honest() -> None:
    said = split_sentence(AUDIT, "cluster")
    assert "split by cluster" in said
    assert "Donors are not known, so the truth may be lower" in said
    every_image = AUDIT | {"groups": AUDIT["images"]}
    assert "so both are splits by image" in split_sentence(every_image, "cluster")


def test_shortcuts_beyond_the_most_frequent_class_are_named() -> None:
    said = shortcut_sentence(AUDIT)
    assert "Colour alone gives 45.0% (41.0% to 49.0%) and share of tissue and blur alone" in said
    assert "size alone" not in said
    weak = {key: {"accuracy": 0.09, "low": 0.05, "high": 0.13} for key in AUDIT["accuracy"]}
    assert shortcut_sentence(AUDIT | {"accuracy": weak}).endswith(
        "None of them alone is shown to give more."
    )
    assert "The most frequent class alone gives 8.3% (60 of 720)." in said


def test_a_size_that_never_varies_has_no_accuracy() -> None:
    accuracy = {key: value for key, value in AUDIT["accuracy"].items() if key != "size"}
    said = shortcut_sentence(AUDIT | {"accuracy": accuracy})
    assert said.startswith("Colour, share of tissue and blur together ")
    assert said.endswith(" All images have one size, which gives nothing away.")


def test_crops() -> None:
    assert "bring +5.0 points (95% interval +2.0 to +8.0)" in crops_sentence(AUDIT)
    assert crops_sentence(AUDIT | {"difference": {}}) == ""


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"more_groups": 20, "more_groups_low": 11, "more_groups_high": 40},
         "5 points would take about 20 more of each (95% interval 11 to 40)."),
        ({"more_groups": 20, "more_groups_low": 11},
         "5 points would take about 20 more of each (95% interval 11 to more than 48)."),
        ({"more_groups_low": 17},
         "5 points would take more than 48 more of each (95% interval: from 17 up)."),
        ({}, "5 points would take more than 48 more of each."),
    ],
)  # fmt: skip
def test_the_price_of_five_points(known: dict[str, int], said: str) -> None:
    curve = {key: value for key, value in AUDIT["learning_curve"].items() if "more" not in key}
    sentence = curve_sentence(AUDIT | {"learning_curve": curve | known}, "donor")
    assert said in sentence
    assert "twice as many would bring +3.4 points (95% interval +2.0 to +5.0)" in sentence


def test_what_was_not_measured_is_said() -> None:
    few = {key: value for key, value in AUDIT.items() if key != "learning_curve"}
    assert curve_sentence(few, "slide").startswith("Too few slides for a learning curve")
    assert left_out_sentence(AUDIT, "donor") == ""
    some = AUDIT | {"left_out": {"lung": 4, "colon": 6}}
    assert left_out_sentence(some, "donor").endswith("a single donor: colon and lung.")


def with_values(**changes: Any) -> dict[str, Any]:
    return AUDIT | changes
