"""The distance from training: what it notices, its limit, and its place in the file of a model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.networks import head_for
from tissue.common.errors import InputError
from tissue.training.model_file import NOVELTY
from tissue.training.novelty import (
    REFUSED,
    Examples,
    Novelty,
    fit_novelty,
    read_novelty,
)
from tissue.training.saving import load_model, save_model

WIDTH = 40


def images(
    centres: NDArray, donors: int, seed: int, *, each: int = 4, between: float = 0.5
) -> Examples:
    """Features of so many donors per class, which differ by `between`, `each` images of a donor."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(centres)), donors * each)
    of_donor = rng.normal(0, between, (len(centres) * donors, WIDTH)).repeat(each, axis=0)
    points = centres[labels] + of_donor + rng.normal(0, 0.3, (len(labels), WIDTH))
    groups = pd.Series([f"{seed}-{row // each}" for row in range(len(labels))])
    return points.astype(np.float32), labels, groups


def classes(count: int, seed: int = 0) -> NDArray:
    return np.random.default_rng(seed).gamma(3, 1, (count, WIDTH))


@pytest.mark.parametrize("count", [2, 5])
def test_foreign_classes_are_refused_and_other_donors_are_not(count: int) -> None:
    every = classes(count + 1)
    known, foreign = every[:count], every[count:]
    novelty = fit_novelty(images(known, 30, 1), images(known, 8, 2), seed=0)
    unseen, _, groups = images(known, 40, 3)
    refused = novelty(unseen) > 1
    # Images of a donor stand or fall together, so donors are the trials.
    spread = np.sqrt(REFUSED * (1 - REFUSED) / groups.nunique())
    assert abs(refused.mean() - REFUSED) < 3 * spread
    assert (novelty(images(foreign, 20, 4)[0]) > 1).mean() > 0.9


def test_the_limit_is_that_of_other_donors() -> None:
    known = classes(4)
    train, val = (images(known, donors, seed, between=1.0) for seed, donors in ((1, 12), (2, 4)))
    by_donor = fit_novelty(train, val, seed=0)
    alone = [
        (*one[:2], pd.Series(range(len(one[1]))) + start) for start, one in ((0, train), (999, val))
    ]
    by_image = fit_novelty(*alone, seed=0)
    unseen = images(known, 30, 3, between=1.0)[0]
    assert (by_donor(unseen) > 1).mean() < 0.5 * (by_image(unseen) > 1).mean()


def test_distance_in_all_directions_counts() -> None:
    """Few classes have few discriminants, which noise and blank pictures may not touch."""
    novelty = fit_novelty(images(classes(2), 20, 1), images(classes(2), 6, 2), seed=0)
    unseen = images(classes(2), 10, 3)[0]
    aside = np.random.default_rng(5).normal(size=WIDTH)
    aside -= novelty.directions @ np.linalg.lstsq(novelty.directions, aside, rcond=None)[0]
    assert (novelty(unseen + 4 * aside.astype(np.float32)) > 1).mean() > 0.9


@pytest.mark.parametrize("groups", [["a"] * 20, ["a"] * 10 + ["b"] * 10])
def test_one_donor_per_class(groups: list[str]) -> None:
    labels = np.repeat([0, 1], 10)
    features = np.random.default_rng(2).random((20, 8), np.float32) + labels[:, None]
    train = (features, labels, pd.Series(groups))
    val = (features[:4] + 0.01, labels[:4], pd.Series(groups[:4]))
    novelty = fit_novelty(train, val, seed=0)
    assert np.isfinite(novelty(features)).all()
    assert 0 < novelty.limit < np.inf


def test_one_image_per_class_or_a_single_class() -> None:
    features = np.random.default_rng(3).random((4, 8), np.float32)
    for labels in (np.arange(4), np.zeros(4, np.int64)):
        one = (features, labels, pd.Series(list("abcd")))
        assert np.isfinite(fit_novelty(one, one, seed=0)(features)).all()


def test_it_is_kept_in_the_file_of_the_model(tmp_path: Path) -> None:
    examples = images(classes(3), 6, 1), images(classes(3), 2, 2)
    for name in ("one", "two"):
        novelty = fit_novelty(*examples, seed=0)
        save_model(head_for(8), tmp_path / f"{name}.keras", arrays={NOVELTY: novelty._asdict()})
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    read = read_novelty(tmp_path / "one.keras")
    assert isinstance(read, Novelty)
    unseen = images(classes(3), 4, 3)[0]
    assert np.allclose(read(unseen), novelty(unseen), rtol=1e-4)
    load_model(tmp_path / "one.keras")  # Keras ignores it


def test_a_model_without_it(tmp_path: Path) -> None:
    save_model(head_for(8), tmp_path / "old.keras")
    with pytest.raises(InputError, match=r"old\.keras: expected a model saved with its distance"):
        read_novelty(tmp_path / "old.keras")
