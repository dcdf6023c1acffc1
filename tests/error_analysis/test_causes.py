"""Evidence for the causes of errors, and the cause to name."""

import numpy as np
import pandas as pd
import pytest

from tissue.error_analysis.causes import (
    STANDS_OUT,
    Quality,
    find_evidence,
    fit_quality,
    measure_images,
    name_cause,
    neg_log10_p,
)
from tissue.error_analysis.recognition import WAYS, measure_recognition
from tissue.error_analysis.table import CAUSES, NONE_FOUND, rarity

CLASSES = ["colon", "kidney", "lung", "skin_1", "skin_2"]


def evidence_of(images: pd.DataFrame, quality: Quality) -> pd.DataFrame:
    return find_evidence(images, measure_images(images, quality, CLASSES))


def test_p_values_are_counted_within_the_reference_and_modelled_beyond_it() -> None:
    reference = np.random.default_rng(0).exponential(size=5000)
    values = np.array([0.0, np.log(2), np.log(100), np.log(1e5)])
    assert neg_log10_p(values, reference) == pytest.approx([0, 0.3, 2, 5], abs=0.35)
    assert neg_log10_p([3.0], []) == 0
    assert np.isfinite(neg_log10_p([1.0, 2.0], [1.0, 1.0, 1.0])).all()


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [
        ({}, NONE_FOUND),
        ({"blur": 1.5}, NONE_FOUND),
        ({"blur": 1.8, "suspect_label": 1.4}, "blur"),
        ({"blur": 1.8, "suspect_label": 3.0}, "suspect_label"),
        ({"blur": 1.8, "suspect_label": 3.0, "unlike_training": 1.8}, "blur"),
        ({"extreme_stain": 4.0, "suspect_label": 3.0}, "suspect_label"),
        ({"blur": 1.8, "unlike_training": 2.5}, "unlike_training"),
        ({"little_tissue": 2.0, "unlike_training": 2.4}, "little_tissue"),
        ({"little_tissue": 2.0, "unlike_training": 2.6}, "unlike_training"),
        ({"little_tissue": 1.6, "unlike_training": 1.8}, "unlike_training"),
        ({"extreme_stain": 2.5, "unlike_training": 2.5}, "extreme_stain"),
        ({"suspect_label": 1.4}, "suspect_label"),
        ({"donor_unseen": 1.8}, "donor_unseen"),
        ({"donor_unseen": 1.8, "few_donors": 1.2, "looks_other": 1.1}, "few_donors"),
        ({"blur": 1.8, "looks_other": 3.0}, "blur"),
        ({"looks_other": 0.9}, NONE_FOUND),
        ({"looks_other": 1.1, "not_learnt": 1.2, "views_disagree": 1.0}, "not_learnt"),
        ({"views_disagree": 1.1, "donor_unseen": 1.8}, "views_disagree"),
    ],
)
def test_strongest_evidence_is_named(strengths: dict[str, float], expected: str) -> None:
    assert name_cause({**dict.fromkeys(CAUSES, 0.0), **strengths}) == expected


def stained_images(factors: list[float]) -> tuple[pd.DataFrame, Quality]:
    """Pale colons and dark kidneys; the first colons, stained by factors, predicted as kidneys."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)
    dark = np.where(labels == 1, 2.5, 1)
    images = pd.DataFrame({
        "class": np.asarray(CLASSES)[labels],
        "label": labels,
        "tissue_fraction": 0.3 * np.exp(rng.normal(0, 0.2, 400)),
        "blur": 0.2 * np.exp(rng.normal(0, 0.1, 400)),
        "haematoxylin": 0.2 * dark * np.exp(rng.normal(0, 0.2, 400)),
        "dab": 0.2 * dark * np.exp(rng.normal(0, 0.2, 400)),
    })  # fmt: skip
    quality = fit_quality(images)
    images["predicted"], images["split"] = images["class"], "test"
    for row, factor in enumerate(factors):
        images.loc[row, ["tissue_fraction", "haematoxylin", "dab"]] = [0.3, *[0.2 * factor] * 2]
        images.loc[row, "predicted"] = CLASSES[1]
    distance = np.exp(rng.normal(0, 0.1, 400))
    images = images.assign(distance=distance, label_probability=0.9, suspect=False, unseen=False)
    images[list(WAYS)] = 3.0  # every second classifier is right
    images = images.assign(learnt=3.0, dissent=-3.0)
    return images, quality


def test_dark_stain_accounts_for_distance_and_pale_stain_does_not() -> None:
    images, quality = stained_images([2.5, 0.4])
    images.loc[:1, "distance"] = 10.0
    evidence = evidence_of(images, quality)
    assert (evidence["extreme_stain"][:2] >= STANDS_OUT).all()
    named = [name_cause(evidence.loc[row]) for row in (0, 1)]
    assert named == ["extreme_stain", "unlike_training"]


def test_image_that_is_usual_for_its_class_is_not_blurred() -> None:
    images, _ = stained_images([1.0, 1.0, 1.0])
    images.loc[images["label"] == 1, "blur"] *= 0.4  # the predicted class is much sharper
    images.loc[:2, "blur"] = 0.2
    quality = fit_quality(images)
    assert (evidence_of(images, quality)["blur"][:3] < STANDS_OUT).all()
    images.loc[:2, "blur"] = 0.8
    assert (evidence_of(images, quality)["blur"][:3] >= STANDS_OUT).all()


def test_stain_counts_the_area_that_it_makes_visible() -> None:
    images, quality = stained_images([1.5, 1.5, 1.5])
    images.loc[:2, "tissue_fraction"] = [0.3, 0.6, 0.15]
    usual, wide, narrow = measure_images(images, quality, CLASSES)["extreme_stain"][:3]
    assert wide > 2 * usual
    assert narrow == pytest.approx(usual, rel=0.1)


def test_only_suspect_labels_count_as_improbable() -> None:
    images, quality = stained_images([1.0, 1.0])
    images["suspect"] = images.index == 1
    images.loc[:1, "label_probability"] = 0.001
    assert evidence_of(images, quality)["suspect_label"][:2].tolist() == pytest.approx([0, 3])


def test_unseen_donors_are_compared_with_those_of_the_test_alone() -> None:
    images, quality = stained_images([])
    images.loc[:99, "split"] = "val"  # whose donors are never in training
    images["unseen"] = (images["split"] == "val") | (images.index == 399)
    images.loc[399, "predicted"] = "colon"
    evidence = evidence_of(images, quality)
    assert evidence["donor_unseen"][399] == pytest.approx(np.log10(300))
    assert evidence["donor_unseen"][398] == 0


def test_rarity_as_text() -> None:
    assert rarity(4, 390) == "Only 4 of 390 correctly classified images are as extreme"
    assert rarity(0, 1390) == "None of 1,390 correctly classified images is as extreme"


@pytest.mark.parametrize(
    ("odds", "expected"),
    [
        ((-1, 2, 2, 2), {"few_donors": 1}),
        ((1, 2, -3, 2), {"one_scale": 2}),
        ((1, 2, 3, -1), {"one_scale": 1}),
        ((-1, -2, 1, -3), {"one_scale": 1}),
        ((-1, -2, -3, -4), {"looks_other": 1}),
        ((1, 2, 3, 4), {}),
    ],
)
def test_what_second_classifiers_recognise(
    odds: tuple[float, ...], expected: dict[str, float]
) -> None:
    measured = measure_recognition(pd.DataFrame([odds], columns=list(WAYS))).iloc[0]
    assert measured[measured > 0].to_dict() == expected
