"""The paired test: exact cases, its size where donors have several images, and its direction."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from tissue.metrics.intervals import Sampling
from tissue.metrics.paired import mean_flip_test, paired_comparison


def test_few_donors_are_flipped_in_all_ways() -> None:
    differences = np.array([1.0, 1, 1, 0, 0, 1])
    # Donors gain 2, 1 and 1: of eight flips, all plus and all minus are as extreme.
    assert mean_flip_test(differences, list("aabbcc"), sampling=Sampling(100, 0)) == 0.25
    assert mean_flip_test(np.zeros(6), list("aabbcc"), sampling=Sampling(100, 0)) == 1


def test_the_share_of_whole_sums_is_exact() -> None:
    differences = np.repeat([1.0, -1, 1, 1], [14, 3, 2, 9])
    donors = np.repeat(np.arange(9), [2, 3, 2, 4, 3, 3, 2, 3, 6])
    sums = np.bincount(donors, differences)
    flips = np.array(list(itertools.product([-1, 1], repeat=len(sums)))) @ sums
    expected = (np.abs(flips) >= abs(sums.sum())).mean()
    assert 0 < expected < 0.05
    assert mean_flip_test(differences, donors, sampling=Sampling(1, 0)) == pytest.approx(expected)
    # Of 40 donors, a trillion flips, only all plus and all minus are as extreme.
    assert mean_flip_test(np.ones(40), range(40), sampling=Sampling(1, 0)) == pytest.approx(2**-39)
    # Means over seeds are not whole: random flips.
    assert mean_flip_test(np.full(40, 1 / 3), range(40), sampling=Sampling(99, 0)) == 0.01


def test_size_where_images_of_a_donor_share_their_fate() -> None:
    """McNemar's test rejects far more than 5 % of equal models, sign flips by donor do not."""
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        a, b = (
            pd.DataFrame({"class": "a", "predicted": np.where(right, "a", "b")})
            for right in np.repeat(rng.random((2, 40)) < 0.7, 4, axis=1)
        )
        donors = np.repeat(np.arange(40), 4)
        found.append(paired_comparison(a, b, donors, sampling=Sampling(200, seed)))
    flips, mcnemar = (
        np.mean([one[key] < 0.05 for one in found]) for key in ("p_value", "p_value_mcnemar")
    )
    assert flips < 0.08
    assert mcnemar > 0.2
    covered = [one["difference_low"] <= 0 <= one["difference_high"] for one in found]
    assert 0.92 < np.mean(covered) < 0.99


class TestComparison:
    @staticmethod
    def tables(
        *, both: int, first: int, second: int, neither: int
    ) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
        """Tables of two models of which both, the first, the second or neither are correct."""
        counts = [both, first, second, neither]
        a, b = np.repeat(["aa", "ab", "ba", "bb"], counts).astype("U2").view("U1").reshape(-1, 2).T
        tables = [pd.DataFrame({"class": "a", "predicted": column}) for column in (a, b)]
        return tables[0], tables[1], pd.Series(range(len(a)))

    def test_known_table(self) -> None:
        first, second, donors = self.tables(both=50, first=5, second=20, neither=25)
        values = paired_comparison(first, second, donors, sampling=Sampling(5000, 1))
        assert values["n"] == 100
        assert (values["both_right"], values["both_wrong"]) == (50, 25)
        assert (values["only_scratch"], values["only_pretrained"]) == (5, 20)
        assert values["difference"] == pytest.approx(0.15)
        assert 0 < values["difference_low"] < 0.15 < values["difference_high"] < 0.3
        # 2 * sum of C(25, k) / 2 ** 25 for k up to 5
        assert values["p_value_mcnemar"] == pytest.approx(2 * 68406 / 2**25)
        assert values["p_value_mcnemar"] == pytest.approx(binomtest(20, 25).pvalue)
        # With one image per donor, sign flips are McNemar's test.
        assert values["p_value"] == pytest.approx(values["p_value_mcnemar"])

    def test_models_exchanged(self) -> None:
        first, second, donors = self.tables(both=50, first=5, second=20, neither=25)
        forth = paired_comparison(first, second, donors, sampling=Sampling(100, 1))
        back = paired_comparison(second, first, donors, sampling=Sampling(100, 1))
        assert back["difference"] == -forth["difference"]
        assert back["p_value_mcnemar"] == pytest.approx(forth["p_value_mcnemar"])
        assert back["p_value"] == forth["p_value"]
        assert back["only_scratch"] == forth["only_pretrained"]

    def test_equal_predictions(self) -> None:
        first, second, donors = self.tables(both=5, first=0, second=0, neither=5)
        values = paired_comparison(first, second, donors, sampling=Sampling(100, 1))
        assert values["p_value"] == 1
        assert values["difference"] == 0
        # Agreement on ten donors does not prove agreement on all.
        assert 0.2 < values["difference_high"] == -values["difference_low"] < 0.4
