"""What the page advises: each step appears with its evidence, and not without."""

from dataclasses import replace

import pandas as pd
import pytest

from tests.report_examples import VIEWS
from tissue.error_analysis.table import CAUSES
from tissue.report.assembling import render
from tissue.report.next_steps import next_steps
from tissue.report.reading import Inputs
from tissue.report.sentences import baseline_sentences
from tissue.report.why import why_sentence


@pytest.fixture
def fine(inputs: Inputs) -> Inputs:
    """A run of known donors with nothing to advise."""
    inputs.metrics["split"].update(source="lab", group_rule="donor", rejected=0)
    for cause in CAUSES:
        inputs.metrics["errors"]["pretrained"]["causes"][cause]["difference_low"] = -0.1
    inputs.metrics["audit"]["learning_curve"]["doubled_low"] = -0.01
    return replace(inputs, suspects=inputs.suspects.iloc[:0])


def _step(inputs: Inputs, start: str) -> str:
    (found,) = next_steps(inputs)
    assert found.startswith(start), found
    return found


def test_nothing_is_advised_without_a_reason(fine: Inputs) -> None:
    assert next_steps(fine) == []
    assert "What to do next" not in render(fine, VIEWS)


def test_unknown_donors_come_first(fine: Inputs) -> None:
    fine.metrics["split"]["group_rule"] = "near-duplicate cluster"
    _step(fine, "Name the donors with split.metadata or split.group_pattern")
    assert "<li>Name the donors" in render(fine, VIEWS)


def test_a_wide_interval_asks_for_more_donors(fine: Inputs) -> None:
    fine.metrics["pretrained"]["test"].update(accuracy_low=0.276, accuracy_high=0.99)
    fine.metrics["comparison"]["test"]["donors"] = 2
    said = _step(fine, "Test on more donors: the 2 of the test set leave the accuracy of the pre")
    assert "between 27.6% and 99.0%." in said
    assert "over the 180 donors of training and validation" in said
    assert "reaches 80.0% (76.0% to 84.0%)." in said


def test_clusters_of_copies_are_images_to_whoever_collects_them(fine: Inputs) -> None:
    fine.metrics["split"]["group_rule"] = "near-duplicate cluster"
    fine.metrics["pretrained"]["test"].update(accuracy_low=0.3, accuracy_high=0.9)
    fine.metrics["comparison"]["test"]["donors"] = 340
    _, said = next_steps(fine)
    assert said.startswith("Test on more images: the 360 of the test set leave the accuracy of")
    assert "over the 720 images of training and validation" in said
    assert "cluster" not in said


def test_shortcuts_that_do_as_well_are_a_warning(fine: Inputs) -> None:
    fine.metrics["audit"]["difference"]["all_shortcuts"]["high"] = 0.01
    said = _step(fine, "Check whether the classes were stained, scanned or cut in different ways.")
    assert "alone give 50.0%" in said
    assert "the 80.0% of the features." in said


def test_one_and_several_are_told_apart(fine: Inputs) -> None:
    fine.metrics["split"]["rejected"] = 1
    assert _step(fine, "Replace the image that was rejected: ")
    fine.metrics["split"]["rejected"] = 3
    assert _step(fine, "Replace the 3 images that were rejected: ")
    fine.metrics["split"]["rejected"] = 0
    row = pd.DataFrame([dict.fromkeys(fine.suspects.columns, "")])
    assert _step(replace(fine, suspects=row), "Check the label that ")
    assert _step(replace(fine, suspects=pd.concat([row, row])), "Check the 2 labels that ")


def test_rare_classes_are_named_with_their_numbers(fine: Inputs) -> None:
    train = fine.index["train"]
    few = train[(train["class"] != "lung") | (train.groupby("class").cumcount() < 3)]
    fine.datasets["train"] = fine.datasets["train"]._replace(index=few)
    _step(fine, "Collect more images of lung: training has 3, and 48 of the most frequent class.")


def test_a_frequent_cause_says_what_helps(fine: Inputs) -> None:
    errors = fine.metrics["errors"]["pretrained"]
    errors["causes"]["blur"].update(difference_low=0.02, errors=7)
    number = errors["errors"]
    said = _step(
        fine, f"What may help with 7 of the {number} errors of the pretrained net: sharper"
    )
    assert "is \N{LEFT DOUBLE QUOTATION MARK}blur\N{RIGHT DOUBLE QUOTATION MARK}" in said
    errors["causes"]["blur"]["errors"] = 4
    assert next_steps(fine) == []


def test_more_training_donors_only_if_the_curve_still_rises(fine: Inputs) -> None:
    fine.metrics["audit"]["learning_curve"]["doubled_low"] = 0.02
    said = _step(fine, "Train on more donors. By the learning curve of the audit, twice as many")
    assert "would bring +3.4 points (95% interval +2.0 to +5.0)" in said


def test_a_model_no_better_than_the_most_frequent_class_is_named(inputs: Inputs) -> None:
    assert baseline_sentences(inputs) == []
    inputs.metrics["scratch"]["test"]["accuracy_low"] = 0.05
    (said,) = baseline_sentences(inputs)
    assert said.startswith("The CNN from scratch is not shown to be better than always answering")
    assert said.endswith("(8.3%).")
    inputs.metrics["pretrained"]["test"]["accuracy_low"] = 0.05
    (said,) = baseline_sentences(inputs)
    assert said.startswith("The pretrained net and the CNN from scratch are not shown")


def test_a_single_error_is_told_in_the_singular(inputs: Inputs) -> None:
    errors = inputs.metrics["errors"]["pretrained"]
    errors["errors"] = 1
    for cause in errors["causes"].values():
        cause["errors"] = 0
    errors["causes"]["blur"]["errors"] = 1
    worst = inputs.confusions[inputs.confusions["model"] == "pretrained"].iloc[0]
    of_pair = (
        (inputs.errors["model"] == "pretrained")
        & (inputs.errors["class"] == worst["actual"])
        & (inputs.errors["predicted"] == worst["predicted"])
    )
    few = replace(
        inputs,
        errors=inputs.errors[of_pair].head(1),
        confusions=inputs.confusions.assign(count=1),
    )
    said = why_sentence(few, "pretrained")
    one = f"One {worst['actual']} is called {worst['predicted']}; the training image nearest to it"
    assert said.startswith(f"The cause of the one error: blur. {one} is ")
