"""Calibration: the error by hand, its level by chance, and what is left without chance."""

import numpy as np
import pandas as pd
import pytest

from tissue.metrics.calibration import calibration_error, calibration_metrics, is_calibrated
from tissue.metrics.intervals import Sampling

CLASSES = ["a", "b"]


def answers(seed: int, *, n: int = 360, shift: float = 0.0, images: int = 1) -> pd.DataFrame:
    """Predictions that are right with their confidence less a shift; donors share their fate."""
    rng = np.random.default_rng(seed)
    confidence = np.repeat(rng.uniform(0.55, 0.95, n // images), images)
    right = np.repeat(rng.random(n // images), images) < confidence - shift
    return pd.DataFrame(
        {
            "class": np.where(right, "a", "b"), "predicted": "a", "confidence": confidence,
            "p_a": confidence, "p_b": 1 - confidence,
        }
    )  # fmt: skip


def measured(table: pd.DataFrame, images: int = 1) -> dict[str, float]:
    donors = np.arange(len(table)) // images
    return calibration_metrics(table, donors, classes=CLASSES, sampling=Sampling(400, 1))


@pytest.mark.parametrize(
    ("confidence", "correct", "expected"),
    [
        # Bins of 1/15: 0.91 (correct) with 0.93 (wrong), 0.50 (correct), 1.0 (correct).
        ([0.91, 0.93, 0.50, 1.0], [True, False, True, True], 2 / 4 * 0.42 + 1 / 4 * 0.5),
        ([0.5] * 10, [True, False] * 5, 0),
        ([1.0] * 4, [False] * 4, 1),
    ],
)
def test_calibration_error(confidence: list[float], correct: list[bool], expected: float) -> None:
    predicted = ["a" if hit else "b" for hit in correct]
    table = pd.DataFrame({"class": "a", "predicted": predicted, "confidence": confidence})
    assert calibration_error(table) == pytest.approx(expected)


def test_level_of_chance_is_that_of_calibrated_models() -> None:
    errors = [calibration_error(answers(seed)) for seed in range(100)]
    found = [measured(answers(seed)) for seed in range(20)]
    assert np.mean([one["ece_chance"] for one in found]) == pytest.approx(np.mean(errors), rel=0.1)
    assert np.mean([one["ece_chance_high"] for one in found]) == pytest.approx(
        np.quantile(errors, 0.975), rel=0.2
    )


@pytest.mark.parametrize("images", [1, 4])
def test_calibrated_models_are_seldom_rejected_and_others_often(images: int) -> None:
    """Also where donors have several images: independent ones would reject a third of them."""
    calibrated = [
        is_calibrated(measured(answers(seed, images=images), images)) for seed in range(60)
    ]
    shifted = [
        is_calibrated(measured(answers(seed, images=images, shift=0.2), images))
        for seed in range(20)
    ]
    assert np.mean(calibrated) > 0.85
    assert np.mean(shifted) < 0.3


def test_debiased_error_is_that_of_kumar_where_images_are_independent() -> None:
    table = answers(3).assign(confidence=0.8, p_a=0.8, p_b=0.2)
    accuracy, n = (table["class"] == "a").mean(), len(table)
    # One bin: the squared gap less the variance of the accuracy, Kumar et al. 2019, definition 5.2.
    expected = (0.8 - accuracy) ** 2 - accuracy * (1 - accuracy) / (n - 1)
    assert measured(table)["rms_calibration_error"] ** 2 == pytest.approx(
        max(0, expected), rel=1e-6
    )


def test_interval_covers_a_planted_error_and_excludes_nothing_of_a_calibrated_model() -> None:
    covered = []
    for seed in range(60):
        found = measured(answers(seed, shift=0.15))
        low, error, high = (found[f"rms_calibration_error{end}"] for end in ("_low", "", "_high"))
        covered.append(low <= 0.15 <= high)
        assert low <= error <= high
        assert low < high
    assert np.mean(covered) > 0.8
    zero = [measured(answers(seed))["rms_calibration_error_low"] == 0 for seed in range(40)]
    assert np.mean(zero) > 0.9
