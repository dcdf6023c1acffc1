"""Reliability and risk-coverage curves, against small cases that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tissue.metrics.calibration import calibration_error
from tissue.metrics.confidence import reliability, risk_coverage


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
    curve = risk_coverage(table([True, True, False, True, False], [0.9, 0.8, 0.5, 0.7, 0.3]))
    assert curve["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve["error"].tolist() == pytest.approx([0, 0, 0, 1 / 4, 2 / 5])
    assert curve["threshold"].tolist() == [0.9, 0.8, 0.7, 0.5, 0.3]


@given(tables, st.integers(0, 5))
def test_order_of_the_images_does_not_matter(frame: pd.DataFrame, seed: int) -> None:
    shuffled = frame.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(risk_coverage(frame), risk_coverage(shuffled))
    one, other = reliability(frame, frame.index), reliability(shuffled, shuffled.index)
    pd.testing.assert_frame_equal(one, other)
    last = risk_coverage(frame).iloc[-1]
    assert last["coverage"] == 1
    assert last["error"] == pytest.approx((frame["class"] != frame["predicted"]).mean())


def test_many_images_give_a_hundred_rows() -> None:
    rng = np.random.default_rng(3)
    few = table([True] * 100, list(rng.random(100)))
    assert risk_coverage(few)["n"].tolist() == list(range(1, 101))
    frame = table(list(rng.random(5_000) < 0.7), list(rng.random(5_000)))
    assert len(risk_coverage(frame)) == 100
