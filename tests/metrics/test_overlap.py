"""Overlap of samples of points: alike, shifted, spread out, and with several images per donor."""

import numpy as np
import pandas as pd
import pytest

from tissue.metrics.intervals import holm
from tissue.metrics.overlap import (
    frechet_distances,
    joint_p_value,
    measure_classes,
    measure_overlap,
    measure_spaces,
    overlap_direction,
    two_sample_auc,
)
from tissue.metrics.projection import map_trustworthiness

SETTINGS = {"neighbours": 10, "random_splits": 400, "seed": 1}


def samples(
    seed: int, *, shift: float = 0.0, spread: float = 1.0
) -> tuple[np.ndarray, pd.DataFrame]:
    """Three classes of 20 donors of 4 images each; donors differ more than their images do."""
    rng = np.random.default_rng(seed)
    donors = np.repeat(np.arange(60), 4)
    is_test = (rng.permutation(60) < 20)[donors]
    centres = rng.normal(0, 1, (60, 8)) + 6 * np.eye(8)[np.arange(60) % 3]
    points = centres[donors] + rng.normal(0, 0.4, (240, 8))
    points[is_test] = points[is_test] * spread + shift
    index = pd.DataFrame(
        {
            "split": np.where(is_test, "test", "train"),
            "class": np.array(["a", "b", "c"])[donors % 3],
            "group": [f"g{donor}" for donor in donors],
        }
    )
    return points.astype(np.float32), index


def test_donors_that_differ_are_no_shift() -> None:
    measured = [measure_overlap(*samples(seed), **SETTINGS) for seed in range(20)]
    assert sum(joint_p_value(values) > 0.05 for values in measured) >= 19
    for mixing in [values["mixing"] for values in measured]:
        assert mixing["random_low"] <= mixing["random_mean"] <= mixing["random_high"]
        # Images of one donor lie close together, so even random splits are below 1.
        assert 0.6 < mixing["random_mean"] < 1


@pytest.mark.parametrize("change", [{"shift": 0.8}, {"spread": 1.7}])
def test_planted_shift_is_noticed(change: dict[str, float]) -> None:
    for seed in range(3):
        measured = measure_overlap(*samples(seed, **change), **SETTINGS)
        assert joint_p_value(measured) < 0.01
        assert overlap_direction(measured) == "apart"


def test_separate_sets_do_not_mix() -> None:
    mixing = measure_overlap(*samples(0, shift=100.0), **SETTINGS)["mixing"]
    assert mixing["real"] == 0 < mixing["random_low"]
    assert mixing["p_value"] == pytest.approx(1 / 401)


def test_random_split_of_single_images_is_fully_mixed() -> None:
    rng = np.random.default_rng(2)
    index = pd.DataFrame(
        {
            "split": rng.permutation(["test"] * 150 + ["train"] * 300),
            "class": "a",
            "group": [f"g{row}" for row in range(450)],
        }
    )
    points = rng.normal(0, 1, (450, 4)).astype(np.float32)
    mixing = measure_overlap(points, index, **SETTINGS)["mixing"]
    assert mixing["real"] == pytest.approx(1, abs=0.06)
    assert mixing["random_mean"] == pytest.approx(1, abs=0.02)
    assert mixing["p_value"] > 0.02


def test_seed_fixes_all_values_and_row_order_leaves_the_real_one() -> None:
    points, index = samples(0, shift=0.3)
    measured = measure_overlap(points, index, **SETTINGS)
    assert measured == measure_overlap(points, index, **SETTINGS)
    order = np.random.default_rng(1).permutation(len(points))
    shuffled = index.iloc[order].reset_index(drop=True)
    mixing = measure_overlap(points[order], shuffled, **SETTINGS)["mixing"]
    assert mixing["real"] == pytest.approx(measured["mixing"]["real"])


def test_more_neighbours_than_images() -> None:
    points, index = samples(0)
    few = index[:12].assign(split=["test", "train"] * 6)
    mixing = measure_overlap(points[:12], few, **SETTINGS | {"neighbours": 50})["mixing"]
    assert mixing["real"] == pytest.approx(1)


def test_copies_of_test_images_in_training_are_closer_than_random() -> None:
    points, index = samples(3)
    points, index = points[index["split"] == "test"], index[index["split"] == "test"]
    pairs = pd.concat([index, index.assign(split="train")], ignore_index=True)
    settings = SETTINGS | {"neighbours": 1}
    measured = measure_overlap(np.concatenate([points, points]), pairs, **settings)
    assert measured["mixing"]["real"] > measured["mixing"]["random_high"]
    assert overlap_direction(measured) == "closer"


def test_shift_is_noticed_where_donors_have_images_of_several_classes() -> None:
    points, index = samples(4, shift=0.8)
    # No two donors have the same classes.
    index["class"] = [f"{name}{i % 4 * (i // 4)}" for i, name in enumerate(index["class"])]
    index.loc[index.index % 4 < 2, "class"] = "common"
    assert overlap_direction(measure_overlap(points, index, **SETTINGS)) == "apart"


def test_direction_is_unknown_where_no_class_has_donors_in_both_splits() -> None:
    points, index = samples(4, shift=0.8)
    index["class"] = index["split"]
    assert overlap_direction(measure_overlap(points, index, **SETTINGS)) == "unknown"


def test_shift_of_one_class_shows_in_that_class_alone() -> None:
    points, index = samples(2)
    points[(index["split"] == "test") & (index["class"] == "b")] += 2
    measured = measure_classes(points, index, **SETTINGS)
    p = {name: joint_p_value(values) for name, values in measured.items()}
    assert p["b"] < 0.01 < min(p["a"], p["c"])


def test_one_class_of_many_is_not_called_far_by_chance() -> None:
    points, index = samples(5)
    measured = measure_classes(points, index, **SETTINGS)
    for name, values in measured.items():
        assert values["p_value"] == joint_p_value(values)
        assert values["p_value"] <= values["p_value_all_classes"], name
    expected = {"a": 0.03, "c": 0.06, "b": 0.06}
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(expected)


def test_a_far_class_is_found_with_few_random_splits() -> None:
    points, index = samples(2)
    points[(index["split"] == "test") & (index["class"] == "b")] += 4
    # 61 values of a permutation cannot be corrected for three statistics and three classes.
    measured = measure_classes(points, index, **{**SETTINGS, "random_splits": 60})
    assert measured["b"]["p_value_all_classes"] < 0.05 < measured["a"]["p_value_all_classes"]


def test_class_without_enough_donors_is_left_out() -> None:
    points, index = samples(2)
    rare = index["class"] == "c"
    index.loc[rare, "group"] = np.where(index.loc[rare, "split"] == "test", "one", "two")
    assert set(measure_classes(points, index, **SETTINGS)) == {"a", "b"}


def test_spaces_are_measured_one_by_one() -> None:
    points, index = samples(1)
    measured = measure_spaces({"here": points, "there": points + 1}, index, **SETTINGS)
    one = measure_overlap(points, index, **SETTINGS)
    assert {name: values["here"] for name, values in measured.items()} == {
        **one,
        "p_value": joint_p_value(one),
        "p_value_closer": joint_p_value(one, "p_value_closer"),
    }


def test_classifier_is_blind_to_equal_samples_and_perfect_on_distant_ones() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 3))
    halves = np.array([rng.random(400) < 0.5 for _ in range(30)])
    areas = two_sample_auc(points, np.arange(400), halves)
    assert areas.mean() == pytest.approx(0.5, abs=0.05)
    points[halves[0]] += 10
    assert two_sample_auc(points, np.arange(400), halves[:1]) == pytest.approx(1)
    # A single donor cannot be cross-validated.
    assert two_sample_auc(points, np.zeros(400, np.int64), halves[:2]).tolist() == [0.5, 0.5]


def test_frechet_distance_of_known_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, (40_000, 2)), rng.normal((3, 0), (2, 1), (40_000, 2))
    is_test = np.repeat([False, True], 40_000)[None]
    # Squared distance of means, plus squared difference of standard deviations.
    expected = 3**2 + (2 - 1) ** 2
    received = frechet_distances(np.concatenate([one, two]), is_test)[0]
    assert received == pytest.approx(expected, rel=0.02)


def test_trustworthiness_is_high_for_a_faithful_map_and_low_for_a_random_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2)).astype(np.float32)
    assert map_trustworthiness(points, 5 * points, neighbours=10) == pytest.approx(1)
    assert map_trustworthiness(points, rng.permutation(points), neighbours=10) < 0.7
