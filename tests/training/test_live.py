"""What a training logs while it runs."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
from dvclive.keras import DVCLiveCallback

from tissue.training.loop import Batches, fit, live_log


def train(log: Path | DVCLiveCallback, *, epochs: int) -> pd.DataFrame:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, "softmax")])
    inputs = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    labels = np.arange(30) % 3
    train = Batches(inputs, labels, classes=3, batch_size=10, seed=2)
    val = Batches(inputs, labels, classes=3, batch_size=10)
    logs = [live_log(log) if isinstance(log, Path) else log]
    return fit(model, train, val, lr=0.01, epochs=epochs, patience=9, logs=logs)


def logged(log: Path) -> dict[str, bytes]:
    return {p.relative_to(log).as_posix(): p.read_bytes() for p in log.rglob("*") if p.is_file()}


def test_every_epoch_is_logged_as_in_the_history(tmp_path: Path) -> None:
    history = train(tmp_path / "live", epochs=3)
    for name, column in (
        ("train/loss", "loss"),
        ("train/accuracy", "accuracy"),
        ("eval/loss", "val_loss"),
        ("eval/accuracy", "val_accuracy"),
    ):
        rows = pd.read_csv(tmp_path / f"live/plots/metrics/{name}.tsv", sep="\t")
        assert rows["step"].tolist() == [0, 1, 2]
        np.testing.assert_allclose(rows.iloc[:, 1], history[column], rtol=1e-6)


def test_an_epoch_can_be_read_before_the_training_ends(tmp_path: Path) -> None:
    seen: list[int] = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            path = tmp_path / "plots/metrics/eval/loss.tsv"
            seen.append(len(pd.read_csv(path, sep="\t")) if path.exists() else 0)

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2, "softmax")])
    batches = Batches(np.ones((4, 2)), np.array([0, 1, 0, 1]), classes=2, batch_size=2)
    logs = [live_log(tmp_path), Reader()]
    fit(model, batches, batches, lr=0.01, epochs=3, patience=9, logs=logs)
    assert seen == [0, 1, 2]


def test_same_training_same_bytes_and_nothing_left_of_an_earlier_one(tmp_path: Path) -> None:
    train(tmp_path / "one", epochs=2)
    train(tmp_path / "two", epochs=5)
    train(tmp_path / "two", epochs=2)
    assert logged(tmp_path / "one") == logged(tmp_path / "two")
    assert "metrics.json" in logged(tmp_path / "one")


def test_a_second_phase_goes_on_counting(tmp_path: Path) -> None:
    log = live_log(tmp_path)
    train(log, epochs=2)
    train(log, epochs=3)
    rows = pd.read_csv(tmp_path / "plots/metrics/train/loss.tsv", sep="\t")
    assert rows["step"].tolist() == [0, 1, 2, 3, 4]
