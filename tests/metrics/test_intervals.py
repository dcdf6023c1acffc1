"""Intervals that know donors: how often they cover the truth, and edge cases."""

import numpy as np
import pandas as pd
import pytest

from tissue.metrics.intervals import clusters_of, mean_interval, share_interval


def coverage(seed: int, *, rates: tuple[float, float], donors: int, images: int) -> float:
    """How often the interval of donors with rates of a beta distribution covers their mean."""
    rng = np.random.default_rng(seed)
    groups, mean = np.repeat(np.arange(donors), images), rates[0] / sum(rates)
    covered = 0
    for _ in range(300):
        rate = rng.beta(*rates, donors)
        correct = rng.random((donors, images)) < rate[:, None]
        low, high = share_interval(correct.ravel(), groups)
        covered += low <= mean <= high
    return covered / 300


@pytest.mark.parametrize(
    ("rates", "donors", "images"),
    [((7, 3), 60, 4), ((3, 1.2), 10, 3), ((0.3, 0.3), 10, 3), ((20, 0.4), 10, 3)],
)
def test_covers_the_truth_about_as_often_as_claimed(
    rates: tuple[float, float], donors: int, images: int
) -> None:
    """The last recall is 0.98: percentiles of resampled donors would cover it 35 % of the time."""
    assert 0.92 < coverage(3, rates=rates, donors=donors, images=images) < 0.99


def test_antibodies_that_donors_share_widen_the_interval() -> None:
    """Each antibody is all right or all wrong, and each donor has one image of each of three."""
    rng, covered = np.random.default_rng(1), {"known": 0, "unknown": 0}
    for _ in range(200):
        antibody = np.array([rng.permutation(20)[:3] for _ in range(60)]).ravel()
        right = (rng.random(20) < 0.7)[antibody]
        table = pd.DataFrame({"group": np.repeat(range(60), 3), "class": "a"})
        known = table.assign(antibody=antibody.astype(str))
        for name, images in (("known", known), ("unknown", table)):
            low, high = share_interval(right, images)
            covered[name] += low <= 0.7 <= high
    assert covered["known"] / 200 > 0.9
    assert covered["unknown"] / 200 < 0.7


def test_unknown_antibodies_change_nothing() -> None:
    rng = np.random.default_rng(7)
    table = pd.DataFrame({"group": np.repeat(range(30), 3).astype(str), "class": "a"})
    right = rng.random(90) < 0.6
    assert share_interval(right, table.assign(antibody="", slide="")) == share_interval(
        right, table
    )
    some = clusters_of(table.assign(antibody=["x", "x", *[""] * 88]))
    assert some.factor is not None
    assert len(np.unique(some.factor)) == 89
    assert some.take(np.arange(2)).factor.tolist() == [some.factor[0]] * 2


def test_classes_that_differ_do_not_widen_the_interval() -> None:
    """Classes are always the same, so only donors within a class count."""
    right = np.repeat([1, 0], 30)
    table = pd.DataFrame({"group": np.arange(60) // 3, "class": np.repeat(["a", "b"], 30)})
    right = np.where(np.arange(60) % 30 < 3, 1 - right, right)  # one donor in each differs
    narrow, wide = mean_interval(right, table), mean_interval(right, table["group"])
    assert narrow.high - narrow.low < 0.8 * (wide.high - wide.low)


def test_wider_where_images_of_a_donor_are_alike() -> None:
    rng = np.random.default_rng(4)
    donors = np.repeat(np.arange(40), 10)
    alike = np.repeat(rng.random(40) < 0.7, 10)
    wide = mean_interval(alike, donors)
    narrow = mean_interval(rng.permutation(alike), donors)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_one_image_per_donor_is_the_ordinary_interval() -> None:
    correct = np.random.default_rng(5).random(400) < 0.8
    mean, spread = correct.mean(), 1.966 * np.sqrt(correct.mean() * (1 - correct.mean()) / 399)
    assert mean_interval(correct, np.arange(400)) == pytest.approx(
        (mean - spread, mean + spread), abs=1e-4
    )
    low, high = share_interval(correct, np.arange(400))
    assert 0 < low < mean < high < 1
    assert low == pytest.approx(mean - spread, abs=0.006)


def test_images_of_a_single_donor_count_as_independent() -> None:
    correct = [1, 1, 1, 0, 1, 0, 1, 1]
    one = mean_interval(correct, ["a"] * 8)
    assert one == mean_interval(correct, np.arange(8))
    assert one.low < 0.75 < one.high


@pytest.mark.parametrize("hit", [0, 1])
def test_donors_that_are_all_alike_do_not_prove_that_all_are(hit: int) -> None:
    low, high = share_interval([hit] * 30, np.arange(30) // 3)
    bounds = (0.6, 0.75) if hit else (0, 0)
    assert (bounds[0] < low < bounds[1] and high == 1) if hit else (low == 0 and 0.25 < high < 0.4)


def test_a_single_hit_is_bounded_about_as_well_as_none() -> None:
    """Whatever the class that it is in, also one with two donors."""
    table = pd.DataFrame({"group": np.arange(112) // 2, "class": np.repeat(list("ab"), [108, 4])})
    none = share_interval(np.zeros(112), table).high
    for row in (0, 111):
        low, high = share_interval(np.arange(112) == row, table)
        assert 0 < low < 1 / 112
        assert high < 1.5 * none


def test_a_class_with_one_donor_is_no_reason_for_certainty() -> None:
    table = pd.DataFrame({"group": list("aabbccdd"), "class": list("xxxxyyzz")})
    low, high = share_interval([1, 1, 0, 1, 1, 1, 0, 0], table)
    assert low < 0.4
    assert high > 0.85


def test_interval_does_not_depend_on_names_or_order() -> None:
    rng = np.random.default_rng(6)
    correct, groups = rng.random(60) < 0.5, np.repeat(np.arange(20), 3)
    order = rng.permutation(60)
    one = mean_interval(correct, groups)
    assert one == pytest.approx(mean_interval(correct[order], groups[order]))
    assert one == mean_interval(correct, np.array([f"donor {group:02d}" for group in groups]))


@pytest.mark.parametrize("hit", [0.0, 1.0])
@pytest.mark.parametrize("count", range(1, 60, 7))
def test_the_share_is_in_its_interval_in_spite_of_rounding(hit: float, count: int) -> None:
    low, high = share_interval(np.full(count, hit), np.arange(count))
    assert low <= hit <= high
