"""The power law, and what is read from it."""

import numpy as np
import pytest

from tissue.audit.learning_curve import Curve, describe_curve, fit_power_law, power_law

SIZES = np.array([1, 2, 4, 8, 16])


@pytest.mark.parametrize("truth", [(0.95, 0.5, 0.6), (0.7, 0.3, 1.0), (1.0, 0.6, 0.3)])
def test_a_power_law_is_recovered(truth: tuple[float, float, float]) -> None:
    fitted = fit_power_law(SIZES, power_law(SIZES, *truth))
    assert np.allclose(power_law(4 * SIZES, *fitted), power_law(4 * SIZES, *truth), atol=0.005)


def test_accuracy_that_does_not_grow_has_no_price() -> None:
    _, described = describe_curve(curve_of(np.full(5, 0.6)), seed=1)
    assert "more_groups" not in described
    assert described["doubled"] == pytest.approx(0, abs=0.02)


def test_the_groups_that_five_more_points_take() -> None:
    truth = (0.98, 0.5, 0.5)
    _, described = describe_curve(curve_of(power_law(SIZES, *truth)), seed=1)
    target = power_law(16, *truth) + 0.05
    needed = (truth[1] / (truth[0] - target)) ** (1 / truth[2]) - 16
    assert described["more_groups_low"] <= described["more_groups"]
    assert described["more_groups"] == pytest.approx(needed, rel=0.4)


def test_the_fit_that_is_drawn_says_what_more_groups_bring() -> None:
    accuracy = np.array([0.2, 0.55, 0.62, 0.68, 0.72])  # the first is off the law of the others
    table, described = describe_curve(curve_of(accuracy), seed=1)
    fit = described["fit"].values()
    assert power_law(16, *fit) == pytest.approx(table["fitted"].iloc[-1])
    assert described["doubled"] == pytest.approx(power_law(32, *fit) - power_law(16, *fit))
    assert described["ceiling"] == described["fit"]["ceiling"]
    for key in ("doubled", "ceiling"):
        assert described[f"{key}_low"] <= described[key] <= described[f"{key}_high"]


def curve_of(accuracy: np.ndarray) -> Curve:
    """Return a curve of 150 groups with four images, right as often as given."""
    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile((np.arange(600) + 0.5) / 600, (len(accuracy), 1)), axis=1).T
    return Curve(SIZES, (order < accuracy).astype(float), np.arange(600) // 4, 12)
