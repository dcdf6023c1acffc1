"""Reliability and risk-coverage curves, against small cases that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tissue.metrics.calibration import (
    calibration_error,
    reliability,
    risk_coverage,
    selective_error,
)
from tissue.metrics.intervals import share_interval


def table(correct: list[bool], confidence: list[float]) -> pd.DataFrame:
    predicted = np.where(correct, "a", "b")
    return pd.DataFrame({"class": "a", "predicted": predicted, "confidence": confidence})


row = st.tuples(st.booleans(), st.integers(1, 20).map(lambda value: value / 20))
tables = st.lists(row, min_size=1, max_size=60).map(lambda rows: table(*zip(*rows, strict=True)))


def test_bins_hold_what_was_counted() -> None:
    curve = reliability(table([True, False, True, True], [0.41, 0.44, 0.95, 1.0]), range(4))
    assert curve["n"].tolist() == [2, 2]
    assert curve["confidence"].tolist() == pytest.approx([0.425, 0.975])
    assert curve["accuracy"].tolist() == [0.5, 1.0]
    # Two images say next to nothing: Wilson's interval of a single independent one.
    low, high = curve.iloc[0][["accuracy_low", "accuracy_high"]]
    assert (low, high) == pytest.approx((0.0546, 0.9454), abs=1e-4)


@given(tables)
def test_bins_give_the_calibration_error(frame: pd.DataFrame) -> None:
    curve = reliability(frame, range(len(frame)))
    gaps = (curve["accuracy"] - curve["confidence"]).abs() * curve["n"]
    assert gaps.sum() / len(frame) == pytest.approx(calibration_error(frame))


def test_risk_falls_where_errors_have_low_confidence() -> None:
    frame = table([True, True, False, True, False], [0.9, 0.8, 0.5, 0.7, 0.3])
    curve = risk_coverage(frame, range(5))
    assert curve["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve["error"].tolist() == pytest.approx([0, 0, 0, 1 / 4, 2 / 5])
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.7, 0.5, 0.3]
    # Wilson's interval of three donors without an error.
    assert curve["error_high"].iloc[2] == pytest.approx(1 / (1 + 3 / 1.96**2), abs=1e-4)
    every = share_interval([0, 0, 0, 1, 1], range(5))
    assert curve.iloc[-1][["error_low", "error_high"]].tolist() == pytest.approx(every)


def test_the_threshold_is_chosen_on_validation() -> None:
    validation = table([True] * 10, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    tested = table([True, False, False, True], [0.9, 0.3, 0.29, 0.1])
    found = selective_error(validation, tested, range(4))
    assert found["threshold"] == pytest.approx(0.3)  # eight of ten reach it
    assert (found["n"], found["errors"], found["error"]) == (2, 1, 0.5)
    assert 0 < found["error_low"] < 0.5 < found["error_high"] < 1
    unsure = selective_error(validation, tested.assign(confidence=0.05), range(4))
    assert (unsure["n"], unsure["errors"], unsure["error"]) == (0, 0, 0.0)


@given(tables, st.integers(0, 5))
def test_order_of_the_images_does_not_matter(frame: pd.DataFrame, seed: int) -> None:
    shuffled = frame.sample(frac=1, random_state=seed)
    curves = (risk_coverage(rows, rows.index) for rows in (frame, shuffled))
    pd.testing.assert_frame_equal(*curves)
    one, other = reliability(frame, frame.index), reliability(shuffled, shuffled.index)
    pd.testing.assert_frame_equal(one, other)
    last = risk_coverage(frame, frame.index).iloc[-1]
    assert last["coverage"] == 1
    assert last["error"] == pytest.approx((frame["class"] != frame["predicted"]).mean())


def test_many_images_give_a_hundred_rows() -> None:
    rng = np.random.default_rng(3)
    few = table([True] * 100, list(rng.random(100)))
    assert risk_coverage(few, range(100))["n"].tolist() == list(range(1, 101))
    frame = table(list(rng.random(5_000) < 0.7), list(rng.random(5_000)))
    assert len(risk_coverage(frame, range(5_000))) == 100
