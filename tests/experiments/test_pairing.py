"""Paired tests of the same images under two revisions, and the answers that changed sides."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from tissue.experiments import markdown
from tissue.experiments.pairing import (
    Difference,
    Pairs,
    find_flips,
    pair_predictions,
    paired_metrics,
)
from tissue.metrics.intervals import Sampling

CLASSES = ("colon", "kidney", "liver", "lung")


def predictions(answers: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """A table of predictions from ids to the actual class and the answer."""
    rows = []
    for name, (actual, predicted) in answers.items():
        shares = {f"p_{one}": 0.7 if one == predicted else 0.1 for one in CLASSES}
        rows.append({"id": name, "class": actual, "predicted": predicted, **shares})
    return pd.DataFrame(rows)


def answered(right: Sequence[bool]) -> pd.DataFrame:
    """Predictions of which the given ones are right; the wrong ones say the next class."""
    answers = {}
    for i, is_right in enumerate(right):
        actual = CLASSES[i % len(CLASSES)]
        answers[f"{i:03d}"] = (actual, actual if is_right else CLASSES[(i + 1) % len(CLASSES)])
    return predictions(answers)


def paired(old: pd.DataFrame, new: pd.DataFrame, images: int = 1) -> Pairs:
    """Pairs with so many images of each donor."""
    groups = [f"d{i // images}" for i in range(len(old))]
    return pair_predictions(old, new, pd.DataFrame({"id": old["id"], "group": groups}))


def differences(pairs: Pairs) -> dict[str, Difference]:
    return paired_metrics(pairs, sampling=Sampling(200, 1))


def verdict(old: Sequence[bool], new: Sequence[bool]) -> str:
    return differences(paired(answered(old), answered(new)))["accuracy"].verdict


def test_a_gain_is_told_from_noise() -> None:
    rng = np.random.default_rng(1)
    old = rng.random(200) < 0.5
    better = old | (rng.random(200) < 0.3)
    swapped = old.copy()
    swapped[np.flatnonzero(old)[:8]] = False
    swapped[np.flatnonzero(~old)[:9]] = True
    assert verdict(old, better) == "gain"
    assert verdict(better, old) == "loss"
    assert verdict(old, swapped) == "noise"
    assert verdict(old, old) == "same"


def test_values_are_those_of_mcnemar_if_each_donor_has_one_image() -> None:
    old = np.arange(40) < 30
    new = (np.arange(40) >= 5) & (np.arange(40) < 37)
    found = differences(paired(answered(old), answered(new)))["accuracy"]
    assert found.value == pytest.approx((7 - 5) / 40)
    assert found.p_value == pytest.approx(binomtest(5, 12).pvalue, abs=0.1)


def test_macro_f1_of_two_equal_models_is_seldom_a_gain_or_a_loss() -> None:
    """Also with few donors, whose images share their fate."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        old, new = np.repeat(rng.random((2, 8)) < 0.7, 6, axis=1)
        found.append(differences(paired(answered(old), answered(new), 6))["macro_f1"])
    assert sum(one.verdict in ("gain", "loss") for one in found) <= 7
    # Of a model that is better on all donors it is one.
    old = np.tile([True, False, False], 20)
    better = differences(paired(answered(old), answered(~old | old), 6))["macro_f1"]
    assert better.verdict == "gain"
    assert better.p_value < 0.02


def test_images_of_one_donor_make_the_interval_wider() -> None:
    rng = np.random.default_rng(2)
    old, new = np.repeat(rng.random((2, 40)) < 0.5, 5, axis=1)
    widths = []
    for images in (1, 5):
        found = differences(paired(answered(old), answered(new), images))["accuracy"]
        widths.append(found.high - found.low)
    assert widths[1] > 1.5 * widths[0]


def test_rows_are_joined_by_id_and_not_by_order() -> None:
    table = answered([True, False] * 10)
    pairs = paired(table, table.sample(frac=1, random_state=1))
    assert differences(pairs)["accuracy"].verdict == "same"
    assert find_flips(pairs) == ([], [])


def test_test_sets_that_differ() -> None:
    table = answered([True] * 20)
    pairs = paired(table[:15], table[5:])
    assert (len(pairs.old), pairs.only_old, pairs.only_new) == (10, 5, 5)
    expected = "**The test sets differ**: 5 images only before, 5 only after"
    assert expected in markdown.basis(pairs)
    assert paired(table[:10], table[10:]).old.empty


def test_images_with_another_label_are_counted() -> None:
    old = answered([True] * 8)
    pairs = paired(old, old.assign(**{"class": ["lung", *old["class"][1:]]}))
    assert pairs.relabelled == 1
    assert "1 images have another label" in markdown.basis(pairs)


def test_the_tissues_of_the_atlas_are_joined() -> None:
    old = predictions({"a": ("skin_1", "skin_2"), "b": ("colon", "colon")})
    new = predictions({"a": ("skin_1", "skin_1"), "b": ("colon", "small_intestine")})
    found = differences(paired(old, new))
    assert found["accuracy"].value == 0
    assert found["accuracy_10_tissues"].value == -0.5
    assert found["accuracy_8_systems"].value == 0


def test_flips_name_both_answers() -> None:
    old, new = answered([True, True, False]), answered([True, False, True])
    lost, won = find_flips(paired(old, new))
    assert lost == [("001", "kidney", "kidney", "liver")]
    assert won == [("002", "liver", "lung", "liver")]


def test_long_lists_of_flips_are_capped_and_counted() -> None:
    flips = find_flips(paired(answered([True] * 40), answered([False] * 40)))
    text = markdown.flips_section({"scratch": flips, "pretrained": flips})
    assert "scratch: 40 from right to wrong" in text
    assert text.count("and 25 more.") == 2
    assert text.count("| `0") == 2 * markdown.IMAGES_SHOWN
