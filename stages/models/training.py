"""One training loop for all three trainings: from scratch, the head, and fine-tuning."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.keras import TqdmCallback

Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
WARM_UP_EPOCHS = 2


class Batches(keras.utils.PyDataset):
    """Batches of inputs (any array, memory-mapped or not) and one-hot labels.

    In training rows are shuffled and changed anew in each epoch. What happens to a batch depends
    on the seed, the epoch and its number alone, so it may be prepared ahead.
    """

    def __init__(
        self,
        inputs: NDArray[Any],
        labels: NDArray[np.int64],
        *,
        classes: int,
        batch_size: int,
        seed: int | None = None,
        change: Change | None = None,
    ) -> None:
        """Serve `inputs` (N, ...) and `labels` (N,); without a seed in order and unchanged."""
        super().__init__(workers=1)
        self.inputs, self.targets = inputs, np.eye(classes, dtype=np.float32)[labels]
        self.batch_size, self.seed, self.change = batch_size, seed, change
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of batches; each row is in exactly one of them."""
        return math.ceil(len(self.inputs) / self.batch_size)

    def __getitem__(self, number: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return batch `number` of the epoch."""
        order = np.arange(len(self.inputs))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        rows = np.sort(order[number * self.batch_size : (number + 1) * self.batch_size])
        inputs = np.asarray(self.inputs[rows])
        if self.change is not None:
            inputs = self.change(
                inputs, np.random.default_rng([self.seed or 0, self.epoch, number])
            )
        return inputs, self.targets[rows]

    def on_epoch_end(self) -> None:
        """Go on to the next order and the next changes."""
        self.epoch += 1


def fit(
    model: keras.Model,
    train: Batches,
    val: Batches,
    *,
    lr: float,
    epochs: int,
    patience: int,
    label_smoothing: float = 0.0,
    name: str = "train",
    logs: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train with Adam and a cosine schedule; the weights of the best validation loss are kept.

    Args:
        model: from inputs to class probabilities.
        train: training batches.
        val: validation batches; they choose the epoch, so they are not a test.
        lr: highest learning rate, reached after a warm-up of two epochs.
        epochs: the most epochs.
        patience: epochs without a better validation loss before training stops.
        label_smoothing: share of the target that is spread over all classes.
        name: in front of the progress bar.
        logs: callbacks that are told every epoch, as from `stages.models.live`.

    Returns:
        A row an epoch: epoch, accuracy, loss, val_accuracy, val_loss, lr. Training figures are
        means over the epoch, of changed images and with dropout.
    """
    model.compile(
        optimizer=keras.optimizers.Adam(lr),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch: _cosine(epoch, epochs) * lr),
        keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True),
        TqdmCallback(verbose=0, desc=name, disable=None),
        *logs,
    ]
    history = model.fit(train, validation_data=val, epochs=epochs, callbacks=callbacks, verbose=0)
    table = pd.DataFrame(history.history).rename(columns={"learning_rate": "lr"})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table[["epoch", "accuracy", "loss", "val_accuracy", "val_loss", "lr"]]


def _cosine(epoch: int, epochs: int) -> float:
    if epoch < WARM_UP_EPOCHS:
        return (epoch + 1) / (WARM_UP_EPOCHS + 1)
    return 0.5 * (
        1 + math.cos(math.pi * (epoch - WARM_UP_EPOCHS) / max(1, epochs - WARM_UP_EPOCHS))
    )
