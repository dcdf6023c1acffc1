"""Batches: each row once per epoch, in an order and with transforms that depend on the seed."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from keras.utils import to_categorical

from tissue.training.batches import Batches
from tissue.training.loop import FitSettings, Phase, fit

LABELS = np.arange(23) % 3


def batches_of(rows: np.ndarray | None = None, **changes: object) -> Batches:
    if rows is None:
        rows = np.arange(23, dtype=np.float32)[:, None]
    settings = {"batch_size": 5, "seed": 4, **changes}
    return Batches(rows, to_categorical(LABELS, 3), **settings)  # type: ignore[arg-type]


def epoch(batches: Batches) -> list[int]:
    """Rows in the order in which an epoch serves them."""
    return [int(row) for number in range(len(batches)) for row in batches[number][0][:, 0]]


def test_every_row_once_per_epoch_in_a_new_order() -> None:
    batches = batches_of()
    assert len(batches) == 5
    orders = []
    for _ in range(3):
        orders.append(epoch(batches))
        batches.on_epoch_end()
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert len(set(map(tuple, orders))) == 3


@pytest.mark.parametrize(("least", "served"), [(23, 23), (10, 23), (24, 24), (46, 46), (50, 50)])
def test_few_rows_are_repeated_equally_often(least: int, served: int) -> None:
    batches = batches_of(least=least)
    for _ in range(2):
        order = epoch(batches)
        assert len(order) == served
        counts = np.bincount(order, minlength=23)
        assert counts.max() - counts.min() <= 1
        batches.on_epoch_end()


def test_a_repeated_row_is_transformed_anew() -> None:
    def noise(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.random(rows.shape)

    batches = batches_of(least=46, batch_size=46, transform=noise)
    values, targets = batches[0]
    assert len(np.unique(values)) == len(targets) == 46


def test_same_seed_same_order_whichever_batch_comes_first() -> None:
    one, two = batches_of(), batches_of()
    backwards = {number: two[number][0] for number in reversed(range(len(two)))}
    for number in range(len(one)):
        assert np.array_equal(one[number][0], backwards[number])
    assert epoch(one) != epoch(batches_of(seed=5))


def test_without_a_seed_in_order() -> None:
    batches = batches_of(seed=None)
    for _ in range(2):
        assert epoch(batches) == list(range(23))
        batches.on_epoch_end()


def test_labels_belong_to_their_rows() -> None:
    batches = batches_of()
    for number in range(len(batches)):
        rows, targets = batches[number]
        assert targets.shape == (len(rows), 3)
        assert np.array_equal(targets.argmax(axis=1), LABELS[rows[:, 0].astype(int)])
        assert (targets.sum(axis=1) == 1).all()


def test_transforms_depend_on_seed_epoch_and_batch_alone() -> None:
    def noise(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rows * 0 + rng.random()

    def drawn(batches: Batches, *numbers: int) -> list[float]:
        return [float(batches[number][0][0, 0]) for number in numbers]

    one, two = batches_of(transform=noise), batches_of(transform=noise)
    drawn(two, 4, 2, 0)
    first = drawn(one, *range(5))
    assert first == drawn(two, *range(5))
    one.on_epoch_end()
    assert len({*first, *drawn(one, *range(5))}) == 10


def test_memory_mapped_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(23, 4))
    np.save(tmp_path / "a.npy", rows)
    mapped = batches_of(np.load(tmp_path / "a.npy", mmap_mode="r"))
    in_memory = batches_of(rows)
    for number in range(5):
        assert np.array_equal(mapped[number][0], in_memory[number][0])


def test_training_serves_every_row_once_per_epoch() -> None:
    served: list[tuple[int, ...]] = []

    def note(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        served.append(tuple(int(row) for row in rows[:, 0]))
        return rows / 23

    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(inputs))
    phase = Phase(3, batches_of(transform=note), batches_of(seed=None))
    fit(model, [phase], FitSettings(0.01, patience=3))
    # Before, Keras looks at some batches for their shape; within an epoch batches are prepared
    # in any order and served in theirs.
    epochs = [served[-5:], served[-10:-5], served[-15:-10]]
    for batches in epochs:
        assert sorted(row for batch in batches for row in batch) == list(range(23))
    assert len(set(map(frozenset, epochs))) == 3
