"""Sentences on the results say what was measured, and no more."""

import re
from typing import Any

import pandas as pd
import pytest

from tests.report_examples import MIXING, TSNE
from tissue.common.names import donor_status
from tissue.report.assembling import render
from tissue.report.data_sentences import (
    ceiling_sentence,
    groups_sentence,
    measures_sentence,
    shared_sentence,
)
from tissue.report.data_tables import imbalance_sentence
from tissue.report.formatting import percentage_points
from tissue.report.reading import Inputs
from tissue.report.sentences import (
    calibration_sentence,
    cause_sentences,
    confusion_sentence,
    coverage_sentence,
    overlap_verdict,
    verdict_sentences,
)


def test_the_verdict_says_what_was_measured(inputs: Inputs) -> None:
    accuracy, confusions, overlap = verdict_sentences(inputs)
    assert accuracy.startswith("The pretrained net classifies ")
    assert "% (95% interval " in accuracy
    assert ") of 360 test images correctly, the CNN from scratch " in accuracy
    assert "; sign flips by donor, p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.0" in accuracy
    assert accuracy.endswith("), which is statistically significant.")
    assert "skin_1 with skin_2" in confusions
    assert "no more than in a random split" in overlap
    paired = inputs.metrics["comparison"]["test"]
    before = dict(paired)
    for change in ({"p_value": 0.41}, {"difference_low": -0.01}):
        paired.update(change)
        assert verdict_sentences(inputs)[0].endswith(" is not statistically significant.")
        paired.update(before)
    paired.update(difference_low=0.228, difference_high=0.328)
    assert "(95% interval +22.8 to +32.8; sign flips" in verdict_sentences(inputs)[0]


def test_the_difference_has_one_direction_whichever_model_is_better(inputs: Inputs) -> None:
    inputs.metrics["scratch"]["test"]["accuracy"] = 1.0
    inputs.metrics["comparison"]["test"].update(
        difference=-0.1, difference_low=-0.15, difference_high=-0.05
    )
    minus = "\N{MINUS SIGN}"
    expected = (
        f"pretrained net minus CNN from scratch is {minus}10.0 points (95% interval {minus}15.0 to "
        f"{minus}5.0;"
    )
    assert expected in verdict_sentences(inputs)[0]
    # The page says it twice, with one sign.
    assert render(inputs).count(expected) == 2


def test_probabilities_are_called_calibrated_only_where_chance_explains_the_error(
    inputs: Inputs,
) -> None:
    test = inputs.metrics["pretrained"]["test"]
    for p, expected in ((0.2, True), (0.049, False)):
        test["ece_p_value"] = p
        sentence = calibration_sentence(inputs, "pretrained")
        assert ("nothing speaks against calibrated probabilities" in sentence) is expected
        assert ("not calibrated on these images" in sentence) is not expected


@pytest.mark.parametrize(
    ("actual", "predicted", "expected"),
    [
        ("bcd", "acd", "The net makes one error: it confuses a with b."),
        ("abc", "bca", "The net makes 3 errors, each between a different pair of classes."),
        (
            "aba",
            "bab",
            "The net makes 3 errors and most often confuses a with b (3), together 100.0% of all "
            "errors.",
        ),
    ],
)
def test_few_errors_are_described_as_they_are(actual: str, predicted: str, expected: str) -> None:
    tested = pd.DataFrame({"class": list(actual), "predicted": list(predicted)})
    assert confusion_sentence(tested, "net") == expected


def test_a_difference_of_nothing_has_no_sign_of_its_own() -> None:
    assert percentage_points(-0.0) == percentage_points(-0.0003) == percentage_points(0.0) == "+0.0"
    assert percentage_points(-0.014) == "\N{MINUS SIGN}1.4"
    assert percentage_points(0.236) == "+23.6"


def test_overlap_verdict_tells_apart_from_close() -> None:
    def verdict(share: float, p: float, copies: int = 0) -> str:
        mixing = {**MIXING, "real": share, "p_value": p, "p_value_closer": 1 - p}
        tsne: dict[str, Any] = {**TSNE, "mixing": {"features": mixing}}
        split = {"leaks": {"images": copies}, "duplicates": {"across_splits": 0}}
        return overlap_verdict(tsne, split).replace("\N{NO-BREAK SPACE}", " ")

    assert verdict(0.98, 0.31).startswith(
        "The test images differ from the training images no more than in a random split. Mixing"
    )
    assert verdict(0.98, 0.31).endswith("give p = 1.00.")
    assert verdict(0.40, 0.005).startswith("The test images differ from the training images more")
    assert verdict(1.10, 1.0).startswith("The test images are closer to the training images")
    assert "give p < 0.001" in verdict(1.10, 1.0)  # of being as close
    # One of three statistics beyond its 97.5 % quantile is no evidence yet.
    for p in (0.98, 0.99):
        assert verdict(1.10, p).startswith(
            "The test images differ from the training images no more"
        )
    assert "no copies in both were found" in verdict(1.10, 1.0)
    assert "copies or donors in both" in verdict(1.10, 1.0, copies=3)


def test_the_verdict_says_that_donors_are_not_known(inputs: Inputs) -> None:
    split = inputs.metrics["split"]
    assert not any("Donors" in sentence for sentence in verdict_sentences(inputs))
    split["group_rule"] = "array position in file name"
    assert verdict_sentences(inputs)[-1] == groups_sentence(split)
    split["group_rule"] = "donor"


@pytest.mark.parametrize(
    ("rule", "shared", "possible", "expected"),
    [
        ("donor", 0, 0, "grouped by donor, as the source names them. No group is in several"),
        ("metadata", 7, 0, "by split.metadata, and groups are taken as donors. 7 groups are in"),
        ("group_pattern", 1, 0, "by split.group_pattern, and .* taken as donors. One group is in"),
        ("near-duplicate cluster", 0, 0, "^Donors are not known. Images are grouped by near-dup"),
        ("array position in file name", 36, 720, "^Donors are not known. .* up to 720 training"),
        ("array position in file name", 0, 0, "^Donors are not known. .*the test set is one of"),
    ],
)
def test_the_rule_of_groups_is_named_and_donors_are_known_or_not(
    rule: str, shared: int, possible: int, expected: str
) -> None:
    split = {
        "group_rule": rule, "groups": {"shared": shared}, "leaks": {"possible": possible},
    }  # fmt: skip
    sentence = groups_sentence(split)
    assert re.search(expected, sentence)
    assert ("Donors are not known" in sentence) == (donor_status(rule) == "not known")


def test_what_is_gained_by_leaving_images_to_a_human(inputs: Inputs) -> None:
    curve = inputs.risk_coverage["pretrained"]
    kept = curve[curve["coverage"] >= 0.8].iloc[0]
    sentence = coverage_sentence(inputs)
    assert sentence.startswith("If the pretrained net answers only the 80.0% of test images")
    assert f"its error rate is {kept['error']:.1%} instead of" in sentence
    assert sentence.endswith(f"{curve.iloc[-1]['error']:.1%}.")


def test_causes_are_called_what_their_rates_show(inputs: Inputs) -> None:
    causes = inputs.metrics["errors"]["scratch"]["causes"]
    for cause in causes.values():
        cause["difference_low"] = -0.01
    assert cause_sentences(inputs)[0].startswith(
        "With the CNN from scratch, no cause is more frequent among errors than among correct "
        "predictions. "
    )
    causes["blur"]["difference_low"] = 0.01
    said = cause_sentences(inputs)[0]
    assert said.startswith(
        "With the CNN from scratch, blur is more frequent among errors than among correct "
        "predictions; little tissue, extreme stain, "
    )
    assert " and donor not in training are not shown to be. " in said
    assert "evenly spread errors would have 5.0%: that says which classes are confused" in said
    del inputs.metrics["errors"]["scratch"]["within_systems"]
    assert cause_sentences(inputs)[0].endswith("are not shown to be.")


def test_measures_alone_are_held_against_chance(inputs: Inputs) -> None:
    said = measures_sentence(inputs)
    assert "the class of 34.0% (95% interval 29.0% to 39.0%) of the 720 training" in said
    assert said.endswith("chance is 8.3%.")


def test_shared_slides_and_antibodies_are_counted(inputs: Inputs) -> None:
    for name, table in inputs.index.items():
        table["slide"] = [f"{name} {row % 4}" for row in range(len(table))]
        table["antibody"] = ""
    assert shared_sentence(inputs) == (
        "Of the test images, 0.0% share their slide (0 of 4 slides) with training or validation."
    )
    inputs.index["train"].loc[0, "slide"] = "test 1"
    inputs.index["test"]["antibody"] = inputs.index["val"].loc[0, "antibody"] = "A1"
    assert shared_sentence(inputs) == (
        "Of the test images, 25.0% share their slide (1 of 4 slides) and 100.0% share their "
        "antibody (1 of 1 antibodies) with training or validation: how the models do on new ones "
        "is not measured."
    )
    inputs.index["test"][["slide", "antibody"]] = ""
    assert shared_sentence(inputs) == ""


def test_the_phantom_has_a_ceiling(inputs: Inputs) -> None:
    said = ceiling_sentence(inputs)
    assert "would be right in 91.6% of these images on average (endometrium_1 and" in said
    assert "skin_1 and skin_2 81.2%; the other classes 100%" in said
    assert "about 30 errors in 360 images" in said


def test_unequal_classes_are_warned_of(inputs: Inputs) -> None:
    assert imbalance_sentence(inputs) == ""
    counts = inputs.metrics["split"]["images_per_class"]["train"]
    before = dict(counts)
    counts["fewest"] = 8
    assert imbalance_sentence(inputs).startswith("Classes are unequal: the smallest has 8 training")
    counts.update(before)
