"""Sentences on the results say what was measured, and no more."""

import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from tests.report_examples import MIXING, TSNE, VIEWS
from tissue.common.names import donor_status
from tissue.report.assembling import render
from tissue.report.ceiling import ceiling_sentences
from tissue.report.data import groups_sentence, imbalance_sentence, shared_sentence
from tissue.report.formatting import p_value, percentage_points, rounded
from tissue.report.reading import Inputs
from tissue.report.sentences import (
    calibration_sentence,
    confusion_sentence,
    coverage_sentence,
    overlap_sentences,
    overlap_verdict,
    verdict_sentences,
)
from tissue.report.why import cause_sentences, why_sentence


def test_the_verdict_says_what_was_measured(inputs: Inputs) -> None:
    accuracy, confusions, overlap = verdict_sentences(inputs)
    assert accuracy.startswith("The pretrained net classifies ")
    assert " correctly (95% interval " in accuracy
    groups = inputs.index["test"]["group"].nunique()
    assert f"% of 360 test images of {groups} donors correctly (" in accuracy
    assert "This is statistically significant (sign flips by donor, p" in accuracy
    assert "skin_1 with skin_2" in confusions
    assert overlap.startswith("The test images are not shown to differ from training more")
    paired = inputs.metrics["comparison"]["test"]
    before = dict(paired)
    for change in ({"p_value": 0.41}, {"difference_low": -0.01}):
        paired.update(change)
        assert ". This is not statistically significant (" in verdict_sentences(inputs)[0]
        paired.update(before)
    paired.update(difference_low=0.228, difference_high=0.328)
    assert "(95% interval +22.8 to +32.8). This " in verdict_sentences(inputs)[0]


def test_the_difference_has_one_direction_whichever_model_is_better(inputs: Inputs) -> None:
    inputs.metrics["scratch"]["test"]["accuracy"] = 1.0
    inputs.metrics["comparison"]["test"].update(
        difference=-0.1, difference_low=-0.15, difference_high=-0.05
    )
    minus = "\N{MINUS SIGN}"
    expected = (
        f"Pretrained net minus CNN from scratch is {minus}10.0 points (95% interval {minus}15.0 to "
        f"{minus}5.0)"
    )
    assert expected in verdict_sentences(inputs)[0]
    assert render(inputs, VIEWS).count(expected) == 1


def test_probabilities_are_called_calibrated_only_where_chance_explains_the_error(
    inputs: Inputs,
) -> None:
    test = inputs.metrics["pretrained"]["test"]
    for p, expected in ((0.2, True), (0.049, False)):
        test["ece_p_value"] = p
        sentence = calibration_sentence(inputs, "pretrained")
        assert ("No miscalibration is shown" in sentence) is expected
        assert ("not calibrated on these images" in sentence) is not expected
        assert f"miss its accuracy by {100 * test['ece']:.1f} points" in sentence


@pytest.mark.parametrize(
    ("actual", "predicted", "expected"),
    [
        ("bcd", "acd", "The net makes one error: it takes b for a."),
        ("abc", "bca", "The net makes 3 errors, each between a different pair of classes."),
        (
            "aba",
            "bab",
            "The net makes 3 errors. It most often confuses a with b (3 of 3).",
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


@pytest.mark.parametrize(
    ("p", "written"),
    [(0.31, "p = 0.31"), (0.032, "p = 0.032"), (0.0012, "p = 0.001"), (0.001, "p \u2264 0.001"),
     (0.0002, "p < 0.001")],
)  # fmt: skip
def test_the_lowest_p_of_random_draws_is_a_bound(p: float, written: str) -> None:
    assert p_value(p) == written.replace(" ", "\N{NO-BREAK SPACE}")


def test_three_digits_of_any_size() -> None:
    values = (80348.12, 104.6, 34.86, 1.0249, 0.4372, 0.0)
    assert [rounded(value) for value in values] == ["80,300", "105", "34.9", "1.02", "0.44", "0.00"]


def test_overlap_says_of_how_many_images_and_how_low_p_can_be(inputs: Inputs) -> None:
    said = overlap_sentences(inputs).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("360 test and 576 training images are compared. Among the 10")
    assert said.endswith("give p = 1.00. 500 random splits cannot give less than 0.012.")


def test_overlap_verdict_tells_apart_from_close() -> None:
    def verdict(share: float, p: float, copies: int = 0) -> str:
        mixing = {**MIXING, "real": share, "p_value": p, "p_value_closer": 1 - p}
        tsne: dict[str, Any] = {**TSNE, "mixing": {"features": mixing}}
        split = {"leaks": {"images": copies}, "duplicates": {"across_splits": 0}}
        return overlap_verdict(tsne, split).replace("\N{NO-BREAK SPACE}", " ")

    same = "The test images are not shown to differ from training more than in random splits"
    same += " (p = "
    assert verdict(0.98, 0.31) == f"{same}1.00)."
    assert verdict(0.40, 0.005).startswith("The test images differ from the training images more")
    assert verdict(1.10, 1.0).startswith("The test images are closer to the training images")
    assert "random splits (p < 0.001)" in verdict(1.10, 1.0)  # of being as close
    # One of three statistics beyond its 97.5 % quantile is no evidence yet.
    for p in (0.98, 0.99):
        assert verdict(1.10, p).startswith(same)
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
    test = inputs.metrics["pretrained"]["test"]
    kept, tested = test["answered"], inputs.tested("pretrained")
    sure = tested[tested["confidence"] >= kept["threshold"] - 1e-4]  # written with four decimals
    sentence = coverage_sentence(inputs)
    assert sentence.startswith("80% of the 144 validation images reach a confidence of ")
    assert f"answers {len(sure)} of 360 test images" in sentence
    wrong = (sure["class"] != sure["predicted"]).sum()
    assert f"errs in {wrong} of these ({wrong / len(sure):.1%}, 95% interval" in sentence
    every = (tested["class"] != tested["predicted"]).sum()
    assert f"Of all images it errs in {every} ({every / 360:.1%}, " in sentence
    test["answered"] = kept | {"n": 0}
    assert coverage_sentence(inputs).endswith("leaves the rest to a human.")
    test["answered"] = kept


def test_causes_are_called_what_their_rates_show(inputs: Inputs) -> None:
    causes = inputs.metrics["errors"]["scratch"]["causes"]
    for cause in causes.values():
        cause["difference_low"] = -0.01
    assert cause_sentences(inputs)[0].startswith(
        "No cause is shown to be more frequent among errors of the CNN from scratch. "
    )
    causes["blur"]["difference_low"] = 0.01
    said = cause_sentences(inputs)[0]
    assert said.startswith("More frequent among errors of the CNN from scratch: blur. ")
    assert "Evenly spread errors would have 5.0% there." in said
    del inputs.metrics["errors"]["scratch"]["within_systems"]
    assert cause_sentences(inputs)[0].endswith(": blur.")


def test_why_is_said_in_counts(inputs: Inputs) -> None:
    errors = inputs.errors[inputs.errors["model"] == "pretrained"]
    said = why_sentence(inputs, "pretrained")
    named = (errors["cause"] != "none_found").sum()
    assert f"{named} of {len(errors)} errors have a measured cause" in said
    worst = inputs.confusions[inputs.confusions["model"] == "pretrained"].iloc[0]
    found = errors[
        (errors["class"] == worst["actual"]) & (errors["predicted"] == worst["predicted"])
    ]
    donors = inputs.index["test"].set_index("id")["group"].loc[found["id"]].nunique()
    expected = (
        f"{len(found)} {worst['actual']} of {donors} donors are called {worst['predicted']}. "
    )
    assert expected in said
    few = replace(inputs, errors=inputs.errors.drop(found.index[:1]))
    assert "are called" not in why_sentence(few, "pretrained")


def test_shared_slides_and_antibodies_are_counted(inputs: Inputs) -> None:
    for name, table in inputs.index.items():
        table["slide"] = [f"{name} {row % 4}" for row in range(len(table))]
        table["antibody"] = ""
    assert shared_sentence(inputs) == (
        "Of the 360 test images, 0 share their slide (0 of 4 slides) with training or validation."
    )
    inputs.index["train"].loc[0, "slide"] = "test 1"
    inputs.index["test"]["antibody"] = inputs.index["val"].loc[0, "antibody"] = "A1"
    assert shared_sentence(inputs) == (
        "Of the 360 test images, 90 share their slide (1 of 4 slides) with training or validation. "
        "360 share their antibody (1 of 1 antibodies) with training or validation. How the models "
        "do on new ones is not measured."
    )
    inputs.index["test"][["slide", "antibody"]] = ""
    assert shared_sentence(inputs) == ""


def test_the_phantom_has_a_ceiling(inputs: Inputs) -> None:
    test = inputs.metrics["pretrained"]["test"]
    test.update(accuracy=0.75, accuracy_low=0.7, accuracy_high=0.8)
    said = ceiling_sentences(inputs)
    assert "would be right in 91.6% of these 360 images on average" in said
    assert (
        "must be expected to make at least 30 errors. That is 33.7% (95% interval 28.1% to " in said
    )
    assert said.endswith(
        "90 errors of the pretrained net. The overlap does not explain most of them."
    )
    test.update(accuracy=0.8, accuracy_high=0.85)
    assert ceiling_sentences(inputs).endswith("The overlap explains only a part of them.")
    test.update(accuracy=0.93, accuracy_high=0.95)
    assert ceiling_sentences(inputs).endswith("at least 30 errors.")


def test_unequal_classes_are_warned_of(inputs: Inputs) -> None:
    assert imbalance_sentence(inputs) == ""
    counts = inputs.metrics["split"]["images_per_class"]["train"]
    before = dict(counts)
    counts["fewest"] = 8
    assert imbalance_sentence(inputs).startswith("Classes are unequal: the smallest has 8 training")
    counts.update(before)
