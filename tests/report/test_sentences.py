"""Sentences on the results say what was measured, and no more."""

from typing import Any

import pandas as pd
import pytest

from tests.report_examples import MIXING, TSNE
from tissue.report.formatting import percentage_points
from tissue.report.reading import Inputs
from tissue.report.sentences import (
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
    assert "; McNemar, p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001) is stat" in accuracy
    assert "skin_1 with skin_2" in confusions
    assert "no more than in a random split" in overlap
    paired = inputs.metrics["comparison"]["test"]
    before = dict(paired)
    for change in ({"p_value": 0.41}, {"difference_low": -0.01}):
        paired.update(change)
        assert verdict_sentences(inputs)[0].endswith(" is not statistically significant.")
        paired.update(before)
    paired.update(difference_low=0.228, difference_high=0.328)
    assert "(95% interval +22.8 to +32.8; McNemar" in verdict_sentences(inputs)[0]


def test_a_difference_in_favour_of_the_other_model_has_its_interval_turned(inputs: Inputs) -> None:
    inputs.metrics["scratch"]["test"]["accuracy"] = 1.0
    inputs.metrics["comparison"]["test"].update(
        difference=-0.1, difference_low=-0.15, difference_high=-0.05
    )
    assert "difference of +10.0 points (95% interval +5.0 to +15.0;" in verdict_sentences(inputs)[0]


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
    def verdict(share: float, p: float, shared: int = 0, rule: str = "donor") -> str:
        tsne: dict[str, Any] = {
            **TSNE, "mixing": {"features": {**MIXING, "real": share, "p_value": p}},
        }  # fmt: skip
        sentence = overlap_verdict(tsne, {"groups": {"shared": shared}, "group_rule": rule})
        return sentence.replace("\N{NO-BREAK SPACE}", " ")

    assert verdict(0.98, 0.31).startswith(
        "The test images differ from the training images no more than in a random split. Mixing"
    )
    assert verdict(0.98, 0.31).endswith("give p = 0.93. No group is shared between splits.")
    assert verdict(0.40, 0.005).startswith("The test images differ from the training images more")
    assert verdict(1.10, 1.0, 7).startswith("The test images are closer to the training images")
    assert "7 groups are shared" in verdict(1.10, 1.0, 7)
    assert "p = " not in verdict(1.10, 1.0)  # the p-value is one-sided
    assert "Donors are unknown" not in verdict(0.98, 0.31)
    assert "Donors are unknown" in verdict(0.98, 0.31, rule="near-duplicate cluster")


def test_what_is_gained_by_leaving_images_to_a_human(inputs: Inputs) -> None:
    curve = inputs.risk_coverage["pretrained"]
    kept = curve[curve["coverage"] >= 0.8].iloc[0]
    sentence = coverage_sentence(inputs)
    assert sentence.startswith("If the pretrained net answers only the 80.0% of test images")
    assert f"its error rate is {kept['error']:.1%} instead of" in sentence
    assert sentence.endswith(f"{curve.iloc[-1]['error']:.1%}.")
