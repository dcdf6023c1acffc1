"""ROC and precision-recall: the areas of scikit-learn, with intervals that know of donors."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from tissue.metrics.ranking import (
    area_under_roc,
    average_precision,
    ranking_curves,
    ranking_metrics,
    ranking_of,
)


def scored(number: int = 200, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(number) < 0.4
    return np.round(rng.normal(positive, 1), 1)[:, None], positive[:, None]


def test_areas_are_those_of_scikit_learn_also_with_ties() -> None:
    scores, positive = scored()
    images = np.arange(len(scores))
    assert area_under_roc(scores, positive, images).value == pytest.approx(
        roc_auc_score(positive.ravel(), scores.ravel())
    )
    assert average_precision(scores, positive, images).value == pytest.approx(
        average_precision_score(positive.ravel(), scores.ravel())
    )


@pytest.mark.parametrize("measure", [area_under_roc, average_precision])
def test_intervals_cover_the_truth_and_widen_where_donors_are_alike(measure) -> None:  # type: ignore[no-untyped-def]
    truth = measure(*scored(20_000, seed=99), np.arange(20_000)).value
    inside = 0
    for seed in range(200):
        area = measure(*scored(seed=seed), np.arange(200))
        inside += area.low <= truth <= area.high
    assert inside >= 178  # 190 expected
    scores, positive = (np.repeat(one, 4, axis=0) for one in scored())
    wide = measure(scores, positive, np.repeat(np.arange(200), 4))
    narrow = measure(scores, positive, np.arange(800))
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)


def test_perfect_ranking_has_an_area_of_one() -> None:
    positive = np.arange(20)[:, None] > 9
    area = area_under_roc(norm.ppf((np.arange(20) + 1) / 21)[:, None], positive, np.arange(20))
    assert area.value == 1
    assert 0.5 < area.low < area.high == 1


def test_all_classes_together() -> None:
    rng = np.random.default_rng(1)
    values = rng.dirichlet([1, 1, 1], 60)
    table = pd.DataFrame(values, columns=["p_a", "p_b", "p_c"]).assign(
        **{"class": rng.choice(list("abc"), 60), "group": np.arange(60) // 2}
    )
    scores, positive = ranking_of(table, list("abc"))
    assert (positive.sum(axis=1) == 1).all()
    found = ranking_metrics(table, table, list("abc"))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(positive.ravel(), scores.ravel()))
    assert found["average_precision_low"] < found["average_precision"]
    assert ranking_metrics(table, table, ["a"]) == {}
    curves = ranking_curves(table, list("abc"))
    assert set(curves["curve"]) == {"roc", "precision_recall"}
    for _, rows in curves.groupby("curve"):
        assert rows["x"].is_monotonic_increasing
        assert rows[["x", "y"]].to_numpy().min() >= 0
