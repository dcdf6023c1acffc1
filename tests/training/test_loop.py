"""The training loop: its schedule, the weights it keeps, and what it logs while it runs."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras.utils import to_categorical

from tissue.common.errors import InputError
from tissue.training.batches import Batches
from tissue.training.loop import FitSettings, Phase, fit, live_log

ROWS = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
LABELS = np.arange(30) % 3


def linear() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, "softmax")])


def phase(epochs: int, val_labels: np.ndarray = LABELS) -> Phase:
    train = Batches(ROWS, to_categorical(LABELS, 3), batch_size=10, seed=2)
    val = Batches(ROWS, to_categorical(val_labels, 3), batch_size=10)
    return Phase(epochs, train, val)


def train(log: Path, *epochs: int) -> pd.DataFrame:
    settings = FitSettings(0.01, patience=9)
    return fit(linear(), [phase(count) for count in epochs], settings, callbacks=[live_log(log)])


def logged(log: Path) -> dict[str, bytes]:
    return {p.relative_to(log).as_posix(): p.read_bytes() for p in log.rglob("*") if p.is_file()}


def test_history_schedule_and_log_span_all_phases(tmp_path: Path) -> None:
    table = train(tmp_path, 3, 2, 4)
    columns = ["epoch", "phase", "accuracy", "loss", "val_accuracy", "val_loss", "lr"]
    assert list(table.columns) == columns
    assert table["epoch"].tolist() == list(range(1, 10))
    assert table["phase"].tolist() == [1, 1, 1, 2, 2, 3, 3, 3, 3]
    # Warm-up, then a cosine down to nothing.
    assert table["lr"].iloc[:3].tolist() == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    assert (table["lr"].iloc[2:].diff().dropna() < 0).all()
    for name in ("loss", "accuracy"):
        for split, column in (("train", name), ("eval", f"val_{name}")):
            rows = pd.read_csv(tmp_path / f"plots/metrics/{split}/{name}.tsv", sep="\t")
            assert rows["step"].tolist() == list(range(9))
            np.testing.assert_allclose(rows.iloc[:, 1], table[column], rtol=1e-6)


@pytest.mark.parametrize("average", [0.0, 0.5, 1.0])
def test_a_training_that_diverges_is_stopped(average: float) -> None:
    settings = FitSettings(1e38, average=average, patience=6)
    with pytest.raises(InputError, match=r"train: expected a loss that falls\..*a smaller lr"):
        fit(linear(), [phase(6)], settings)


def test_best_weights_are_kept() -> None:
    # The better the training, the worse the validation.
    opposite = (LABELS + 1) % 3
    model = linear()
    table = fit(model, [phase(30, opposite)], FitSettings(0.1, patience=3))
    assert len(table) == table["val_loss"].argmin() + 1 + 3
    predicted = model.predict_on_batch(ROWS)[np.arange(30), opposite]
    assert -np.log(predicted).mean() == pytest.approx(table["val_loss"].min(), abs=1e-3)


def test_an_epoch_can_be_read_before_the_training_ends(tmp_path: Path) -> None:
    seen: list[int] = []

    def read(epoch: int, logs: object) -> None:
        path = tmp_path / "plots/metrics/eval/loss.tsv"
        seen.append(len(pd.read_csv(path, sep="\t")) if path.exists() else 0)

    reader = keras.callbacks.LambdaCallback(on_epoch_begin=read)
    fit(
        linear(), [phase(3)], FitSettings(0.01, average=1.0), callbacks=[live_log(tmp_path), reader]
    )
    assert seen == [0, 1, 2]


def test_same_training_same_bytes_and_nothing_left_of_an_earlier_one(tmp_path: Path) -> None:
    train(tmp_path / "one", 2)
    train(tmp_path / "two", 5)
    train(tmp_path / "two", 2)
    assert logged(tmp_path / "one") == logged(tmp_path / "two")
    assert "metrics.json" in logged(tmp_path / "one")


def test_a_second_training_continues_a_log(tmp_path: Path) -> None:
    log = live_log(tmp_path)
    for epochs in (2, 3):
        fit(linear(), [phase(epochs)], FitSettings(0.01, average=1.0), callbacks=[log])
    rows = pd.read_csv(tmp_path / "plots/metrics/train/loss.tsv", sep="\t")
    assert rows["step"].tolist() == [0, 1, 2, 3, 4]
