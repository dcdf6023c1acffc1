"""One training loop for all three trainings: from scratch, the head, and fine-tuning."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.keras import TqdmCallback

from stages.cli.running import InputError
from stages.models.augmentation import mix

Change = Callable[[Any, np.random.Generator], Any]
WARM_UP_EPOCHS = 2


class Rows(Protocol):
    """An array, or several of the same rows."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: NDArray[np.int64]) -> Any:
        """Return some rows: an array, or a dictionary of arrays by name of the model's input."""


class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a share of the learning rate for each variable, 1 where none is given."""

    def __init__(self, learning_rate: float, *, factors: Mapping[str, float], **kwargs: Any):
        """Take shares by `variable.path`."""
        super().__init__(learning_rate, **kwargs)
        self.factors = dict(factors)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        # TensorFlow passes its own variables here, which know no path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.factors.get(path, 1.0))


class AveragedWeights(keras.callbacks.Callback):
    """Set the weights to their mean over all steps from epoch number `first` on.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407) in its dense form, which
    Cha et al. (2021, arXiv 2102.08604) propose for images of another kind than those of training:
    the mean lies flatter than its parts. Validation is of the mean, too. What batch normalisation
    keeps of the batches is then that of other weights: see `renew_statistics`.
    """

    def __init__(self, first: int) -> None:
        """Average from epoch `first` on, counted from 0."""
        super().__init__()
        self.first, self.epoch, self.count = first, 0, 0
        self.variables = list[keras.Variable]()
        self.sums, self.latest = list[NDArray[np.float64]](), list[NDArray[np.float32]]()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Note what changes: to read a variable takes longer than to add it."""
        self.variables = [
            variable
            for layer in _layers_of(self.model)
            if layer.trainable
            for variable in layer.weights
        ]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the number of the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Add the weights after a step."""
        if self.epoch < self.first:
            return
        if not self.count:
            self.sums = [np.zeros(variable.shape) for variable in self.variables]
        for total, variable in zip(self.sums, self.variables, strict=True):
            total += variable.numpy()
        self.count += 1

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Set the mean while it is validated."""
        if self.count:
            self.latest = [variable.numpy() for variable in self.variables]
            self._set_mean()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Go back to the weights that training goes on with."""
        if self.count:
            self._set(self.latest)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Set the mean, if training came so far."""
        if self.count:
            self._set_mean()

    def _set_mean(self) -> None:
        self._set([(values / self.count).astype(np.float32) for values in self.sums])

    def _set(self, weights: list[NDArray[np.float32]]) -> None:
        for variable, values in zip(self.variables, weights, strict=True):
            variable.assign(values)


def _layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        yield from _layers_of(layer) if isinstance(layer, keras.Model) else (layer,)


class Batches(keras.utils.PyDataset):
    """Batches of inputs (any array, memory-mapped or not, or `Rows`) and one-hot labels.

    In training rows are shuffled and changed anew in each epoch. What happens to a batch depends
    on the seed, the epoch and its number alone, so it may be prepared ahead.
    """

    def __init__(
        self,
        inputs: Rows,
        labels: NDArray[np.int64],
        *,
        classes: int,
        batch_size: int,
        seed: int | None = None,
        change: Change | None = None,
        mixup: float = 0.0,
        epoch: int = 0,
    ) -> None:
        """Serve `inputs` (N, ...) and `labels` (N,); without a seed in order and unchanged.

        `change` gets what `inputs` gives for some rows, and returns the like. `epoch` is the one
        that the training begins with.

        With `mixup` above 0, each row and its target are mixed with another of the batch.
        """
        super().__init__(workers=1)
        self.inputs, self.targets = inputs, np.eye(classes, dtype=np.float32)[labels]
        self.batch_size, self.seed, self.change = batch_size, seed, change
        self.mixup = mixup
        self.epoch = epoch
        self._order = self._shuffled()

    def _shuffled(self) -> NDArray[np.int64]:
        order = np.arange(len(self.inputs))
        if self.seed is None:
            return order
        return np.random.default_rng([self.seed, self.epoch]).permutation(order)

    def __len__(self) -> int:
        """Return the number of batches; each row is in exactly one of them."""
        return math.ceil(len(self.inputs) / self.batch_size)

    def __getitem__(self, number: int) -> tuple[Any, NDArray[np.float32]]:
        """Return batch `number` of the epoch."""
        rows = np.sort(self._order[number * self.batch_size : (number + 1) * self.batch_size])
        inputs, targets = self.inputs[rows], self.targets[rows]
        rng = np.random.default_rng([self.seed or 0, self.epoch, number])
        if self.change is not None:
            inputs = self.change(inputs, rng)
        if self.mixup:
            inputs, targets = mix(inputs, targets, rng, self.mixup)
        return inputs, targets

    def on_epoch_end(self) -> None:
        """Go on to the next order and the next changes."""
        self.epoch += 1
        self._order = self._shuffled()


class Phase(NamedTuple):
    """Some epochs of a training, with batches of their own."""

    epochs: int
    train: Batches
    val: Batches


def fit(
    model: keras.Model,
    train: Batches,
    val: Batches,
    *,
    lr: float,
    epochs: int,
    patience: int,
    label_smoothing: float = 0.0,
    weight_decay: float = 0.0,
    warm_up: int = WARM_UP_EPOCHS,
    average: float = 0.0,
    lr_factors: Mapping[str, float] | None = None,
    steps: int = 1,
    before: Sequence[Phase] = (),
    name: str = "train",
    logs: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train with AdamW and a warm-up.

    After that the rate falls as a cosine to zero, and the weights of the best validation loss are
    kept; or, with `average`, it stays, and the mean over the last epochs is kept.

    Args:
        model: from inputs to class probabilities.
        train: training batches.
        val: validation batches; they choose the epoch, so they are not a test.
        lr: highest learning rate, reached after the warm-up.
        epochs: the most epochs, with those of `before`.
        patience: epochs without a better validation loss before training stops; not asked for with
            `average`, which needs the end of the schedule.
        label_smoothing: share of the target that is spread over all classes.
        weight_decay: share of each weight that is taken away a step, times the rate
            (Loshchilov and Hutter 2019, arXiv 1711.05101).
        warm_up: epochs in which the learning rate rises.
        lr_factors: share of the learning rate by path of a variable; the others have the whole.
        average: share of the epochs of the last phase, at its end, over whose steps weights are
            averaged; 0 for none.
        steps: batches in one call of the compiled step; more than one only on a single device: on
            several, TensorFlow fails at a last batch that is smaller.
        before: phases that the training begins with, whose batches may have another shape: one
            schedule, one optimizer. The epoch that is kept is one of the last phase.
        name: in front of the progress bar.
        logs: callbacks that are told every epoch, as from `stages.models.live`.

    Raises:
        InputError: if the loss, of training or validation, is no longer a number.

    Returns:
        A row an epoch: epoch and phase, both from 1, accuracy, loss, val_accuracy, val_loss, lr.
        Training figures are means over the epoch, of changed images and with dropout.
    """
    model.compile(
        optimizer=LayerwiseAdam(lr, factors=lr_factors or {}, weight_decay=weight_decay or None),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        steps_per_execution=steps,
    )
    keep = keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)
    falling = 0 if average else epochs
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: _share(epoch, falling, warm_up) * lr)
    last = Phase(epochs - sum(phase.epochs for phase in before), train, val)
    tables, done = [], 0
    for number, phase in enumerate((*before, last), start=1):
        shown = f"{name}, phase {number} of {len(before) + 1}" if before else name
        stop = keras.callbacks.TerminateOnNaN()
        callbacks = [rate, stop, TqdmCallback(verbose=0, desc=shown, disable=None), *logs]
        if phase is last:
            mean = AveragedWeights(epochs - max(1, round(average * phase.epochs)))
            callbacks.append(mean if average else keep)
        history = model.fit(
            phase.train, validation_data=phase.val, callbacks=callbacks, verbose=0,
            initial_epoch=done, epochs=done + phase.epochs,
        )  # fmt: skip
        tables.append(pd.DataFrame(history.history).assign(phase=number))
        _check_finite(tables[-1], done=done, name=name)
        done += phase.epochs
    # Else the optimizer is saved with the model, and a class of ours cannot be loaded again.
    model.compiled, model.optimizer = False, None
    table = pd.concat(tables, ignore_index=True).rename(columns={"learning_rate": "lr"})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table[["epoch", "phase", "accuracy", "loss", "val_accuracy", "val_loss", "lr"]]


def _check_finite(table: pd.DataFrame, *, done: int, name: str) -> None:
    last = table.iloc[-1]
    if not np.isfinite([last["loss"], last["val_loss"]]).all():
        raise InputError(
            f"{name}: expected a loss that falls. Received: after epoch {done + len(table)}, at a "
            f"learning rate of {last['learning_rate']:.3g}, it is no longer a number. Give a "
            "smaller lr; nothing was saved."
        )


def renew_statistics(model: keras.Model, train: Batches) -> None:
    """Set mean and variance of batch normalisation to their means over an epoch of batches.

    Layers that are frozen keep theirs.
    """
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    sums = [np.zeros((2, *layer.moving_mean.shape)) for layer in norms]
    for layer in norms:
        layer.momentum = 0.0  # each batch alone
    for number in range(len(train)):
        inputs, _ = train[number]
        model(inputs, training=True)
        for total, layer in zip(sums, norms, strict=True):
            total += np.array([layer.moving_mean, layer.moving_variance])
    for total, layer, momentum in zip(sums, norms, momenta, strict=True):
        mean, variance = total / len(train)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        layer.momentum = momentum


def validation_loss(model: keras.Model, val: Batches) -> float:
    """Return the loss, penalties of weights included, that `fit` would measure of a model."""
    model.compile(loss=keras.losses.CategoricalCrossentropy())
    measured = model.evaluate(val, verbose=0, return_dict=True)
    model.compiled, model.optimizer = False, None  # as in `fit`
    return float(measured["loss"])


def _share(epoch: int, epochs: int, warm_up: int) -> float:
    """The share of the learning rate: a warm-up, then a cosine, or with `epochs` 0 all of it."""
    if epoch < warm_up:
        return (epoch + 1) / (warm_up + 1)
    if not epochs:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (epoch - warm_up) / max(1, epochs - warm_up)))
