"""Intervals by donor: how often they cover the truth, and edge cases with known bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tissue.metrics.intervals import Sampling, macro_f1, mean_interval, share_interval


def coverage(seed: int, *, rates: tuple[float, float], donors: int, images: int) -> float:
    """How often the interval of donors with rates of a beta distribution covers their mean."""
    rng = np.random.default_rng(seed)
    groups, mean = np.repeat(np.arange(donors), images), rates[0] / sum(rates)
    covered = 0
    for draw in range(200):
        rate = rng.beta(*rates, donors)
        correct = rng.random((donors, images)) < rate[:, None]
        low, high = share_interval(correct.ravel(), groups, sampling=Sampling(300, draw))
        covered += low <= mean <= high
    return covered / 200


def test_covers_the_truth_about_as_often_as_claimed() -> None:
    assert 0.89 < coverage(3, rates=(7, 3), donors=60, images=4) < 0.99


def test_few_donors_widen_the_interval() -> None:
    """Without the expansion, intervals of 5 donors would cover the truth 82 % of the time."""
    assert coverage(0, rates=(3, 1.2), donors=5, images=6) > 0.85


def test_wider_where_images_of_a_donor_are_alike() -> None:
    rng = np.random.default_rng(4)
    donors = np.repeat(np.arange(40), 10)
    alike = np.repeat(rng.random(40) < 0.7, 10)
    wide = mean_interval(alike, donors, sampling=Sampling(500, 1))
    narrow = mean_interval(rng.permutation(alike), donors, sampling=Sampling(500, 1))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_one_image_per_donor_is_the_ordinary_bootstrap() -> None:
    correct = np.random.default_rng(5).random(400) < 0.8
    interval = mean_interval(correct, np.arange(400), sampling=Sampling(4000, 1))
    mean, spread = correct.mean(), 1.96 * np.sqrt(correct.mean() * (1 - correct.mean()) / 400)
    assert interval == pytest.approx((mean - spread, mean + spread), abs=0.006)


def test_images_of_a_single_donor_are_resampled() -> None:
    correct = [1, 1, 1, 0, 1, 0, 1, 1]
    one = mean_interval(correct, ["a"] * 8, sampling=Sampling(500, 1))
    assert one == mean_interval(correct, np.arange(8), sampling=Sampling(500, 1))
    assert one.low < 0.75 < one.high


@pytest.mark.parametrize("hit", [0, 1])
def test_interval_is_exact_where_all_are_alike(hit: int) -> None:
    interval = share_interval([hit] * 60, np.arange(60) // 3, sampling=Sampling(9, 1))
    bound = 0.025 ** (1 / 20)  # of twenty donors
    assert interval == pytest.approx((0, 1 - bound) if hit == 0 else (bound, 1))


def test_interval_is_exact_only_where_donors_are_alike() -> None:
    mixed, donors, sampling = np.arange(60) % 5 == 0, np.arange(60) // 3, Sampling(99, 1)
    interval = share_interval(mixed, donors, sampling=sampling)
    assert interval == mean_interval(mixed, donors, sampling=sampling)
    # Two donors with a share of a half do not prove that all have it.
    low, high = share_interval([1, 0, 1, 0], list("aabb"), sampling=sampling)
    assert low < 0.1
    assert high > 0.9


def test_groups_of_different_size_are_weighted_by_images() -> None:
    values = np.array([1.0] * 90 + [0.0] * 10)
    groups = np.array(["big"] * 90 + ["small"] * 10)
    # Either group alone is drawn now and then.
    assert mean_interval(values, groups, sampling=Sampling(200, 1)) == (0, 1)


def test_interval_depends_on_the_seed_but_not_on_names() -> None:
    correct = np.random.default_rng(6).random(60) < 0.5
    groups = np.repeat(np.arange(20), 3)
    one = mean_interval(correct, groups, sampling=Sampling(100, 1))
    assert one == mean_interval(correct, groups, sampling=Sampling(100, 1))
    assert one != mean_interval(correct, groups, sampling=Sampling(100, 2))
    names = np.array([f"donor {group:02d}" for group in groups])
    assert one == mean_interval(correct, names, sampling=Sampling(100, 1))


@given(st.lists(st.integers(0, 30), min_size=16, max_size=16).filter(any))
def test_macro_f1_of_sums(counts: list[int]) -> None:
    actual, predicted = np.divmod(np.repeat(np.arange(16), counts), 4)
    expected = f1_score(actual, predicted, average="macro", zero_division=0)
    received = macro_f1(np.array([counts, counts], float))
    assert received == pytest.approx([expected, expected])
