"""Two samples of points: the same, shifted, spread out, and with donors of several images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tissue.data.features import joint_index
from tissue.metrics.overlap import (
    frechet_distances,
    joint_p_value,
    overlap,
    overlap_direction,
    overlap_of_classes,
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
    classes = donors % 3
    is_test = (rng.permutation(60) < 20)[donors]
    centres = rng.normal(0, 1, (60, 8)) + 6 * np.eye(8)[np.arange(60) % 3]
    points = centres[donors] + rng.normal(0, 0.4, (240, 8))
    points[is_test] = points[is_test] * spread + shift
    index = pd.DataFrame(
        {
            "split": np.where(is_test, "test", "train"),
            "class": np.array(["a", "b", "c"])[classes],
            "group": [f"g{donor}" for donor in donors],
        }
    )
    return points.astype(np.float32), index


def test_no_shift_raises_no_alarm_although_donors_differ() -> None:
    p = [joint_p_value(overlap(*samples(seed), **SETTINGS)) for seed in range(20)]
    assert sum(value > 0.05 for value in p) >= 19


@pytest.mark.parametrize("change", [{"shift": 0.8}, {"spread": 1.7}])
def test_planted_shift_is_noticed(change: dict[str, float]) -> None:
    for seed in range(3):
        measured = overlap(*samples(seed, **change), **SETTINGS)
        assert joint_p_value(measured) < 0.01
        assert overlap_direction(measured) == "apart"


def test_copies_of_test_images_in_training_are_closer_than_random() -> None:
    points, index = samples(3)
    points, index = points[index["split"] == "test"], index[index["split"] == "test"]
    pairs = pd.concat([index, index.assign(split="train")], ignore_index=True)
    measured = overlap(np.concatenate([points, points]), pairs, **SETTINGS | {"neighbours": 1})
    assert measured["mixing"]["real"] > measured["mixing"]["random_high"]
    assert overlap_direction(measured) == "closer"


def test_shift_is_noticed_where_donors_have_images_of_several_classes() -> None:
    points, index = samples(4, shift=0.8)
    # No two donors have the same classes.
    index["class"] = [f"{name}{i % 4 * (i // 4)}" for i, name in enumerate(index["class"])]
    index.loc[index.index % 4 < 2, "class"] = "common"
    measured = overlap(points, index, **SETTINGS)
    assert overlap_direction(measured) == "apart"


def test_where_no_donor_can_change_places_nothing_can_be_told() -> None:
    points, index = samples(4, shift=0.8)
    index["class"] = index["split"]
    assert overlap_direction(overlap(points, index, **SETTINGS)) == "unknown"


def test_shift_of_one_class_shows_in_that_class_alone() -> None:
    points, index = samples(2)
    points[(index["split"] == "test") & (index["class"] == "b")] += 2
    p = {
        name: joint_p_value(v) for name, v in overlap_of_classes(points, index, **SETTINGS).items()
    }
    assert p["b"] < 0.01 < min(p["a"], p["c"])


def test_class_without_enough_donors_is_left_out() -> None:
    points, index = samples(2)
    rare = index["class"] == "c"
    index.loc[rare, "group"] = np.where(index.loc[rare, "split"] == "test", "one", "two")
    assert set(overlap_of_classes(points, index, **SETTINGS)) == {"a", "b"}


def test_classifier_is_blind_to_equal_samples_and_sure_of_distant_ones() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 3))
    halves = np.array([rng.random(400) < 0.5 for _ in range(30)])
    areas = two_sample_auc(points, np.arange(400), halves)
    assert areas.mean() == pytest.approx(0.5, abs=0.05)
    points[halves[0]] += 10
    assert two_sample_auc(points, np.arange(400), halves[:1]) == pytest.approx(1)
    # Of one donor nothing can be learnt that could be tried on another.
    assert two_sample_auc(points, np.zeros(400, np.int64), halves[:2]).tolist() == [0.5, 0.5]


def test_frechet_distance_of_known_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, (40_000, 2)), rng.normal((3, 0), (2, 1), (40_000, 2))
    second = np.repeat([False, True], 40_000)[None]
    # Squared distance of means, plus squared difference of standard deviations.
    expected = 3**2 + (2 - 1) ** 2
    assert frechet_distances(np.concatenate([one, two]), second)[0] == pytest.approx(
        expected, rel=0.02
    )


def test_trust_is_high_for_a_faithful_map_and_low_for_a_random_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2)).astype(np.float32)
    assert map_trustworthiness(points, 5 * points, neighbours=10) == pytest.approx(1)
    assert map_trustworthiness(points, rng.permutation(points), neighbours=10) < 0.7


def test_large_sets_are_sampled_by_class_and_part(tmp_path: Path) -> None:
    for part, count in (("train", 300), ("test", 100)):
        ids = [f"{part}/{name}/{i}" for name in ("a", "b") for i in range(count)]
        table = pd.DataFrame({"id": ids, "class": ["a"] * count + ["b"] * count})
        table.to_csv(tmp_path / f"{part}.csv", index=False)
    whole = joint_index(tmp_path, max_images=800, seed=1)
    some = joint_index(tmp_path, max_images=80, seed=1)
    assert len(whole) == 800
    assert some.groupby(["split", "class"]).size().tolist() == [10, 10, 30, 30]
    assert some["id"].is_unique
    assert joint_index(tmp_path, max_images=80, seed=1).equals(some)
    assert not joint_index(tmp_path, max_images=80, seed=2).equals(some)
