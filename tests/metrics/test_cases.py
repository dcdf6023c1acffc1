"""One answer for the pictures of a case."""

import numpy as np
import pandas as pd
import pytest

from tissue.metrics.intervals import clusters_of
from tissue.metrics.predictions import measure_cases, pool_cases


def table_of(rows: list[tuple[str, str, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and index of images of the classes a and b, by donor, class and P(a)."""
    donors, actual, share = (np.array(column) for column in zip(*rows, strict=True))
    table = pd.DataFrame({"class": actual, "p_a": share, "p_b": 1 - share})
    return table, pd.DataFrame({"group": donors, "class": actual})


def test_the_mean_of_logarithms_as_shares() -> None:
    pooled = pool_cases(np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.array([1, 0, 1]))
    geometric = np.sqrt([0.9 * 0.2, 0.1 * 0.8])
    assert pooled == pytest.approx(np.array([[0.5, 0.5], geometric / geometric.sum()]))


def test_a_picture_rounded_to_zero_leaves_the_others_a_say() -> None:
    few = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.4]], np.float32)
    (pooled,) = pool_cases(few, np.zeros(2, int))
    assert np.isfinite(pooled).all()
    assert pooled.sum() == pytest.approx(1)
    assert pooled[1] > pooled[2]


def test_a_case_is_a_donor_and_a_class() -> None:
    # Of P1's images of a, two are wrong by a little and one is right by far.
    rows = [("P1", "a", 0.4), ("P1", "a", 0.45), ("P1", "a", 0.99), ("P1", "b", 0.6)]
    table, index = table_of([*rows, ("P2", "a", 0.8), ("P2", "b", 0.1), ("P3", "b", 0.2)])
    found = measure_cases(table, clusters_of(index))
    assert found["cases"] == 5
    assert found["case_accuracy"] == 4 / 5
    assert 0 <= found["case_accuracy_low"] < 4 / 5 < found["case_accuracy_high"] <= 1


def test_single_images_are_no_cases() -> None:
    table, index = table_of([("P1", "a", 0.4), ("P1", "b", 0.4), ("P2", "a", 0.9)])
    assert measure_cases(table, clusters_of(index)) == {}
