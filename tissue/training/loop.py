"""The one training loop of all trainings: from scratch, of the head, and of fine-tuning."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from dvclive import Live
from dvclive.keras import DVCLiveCallback
from tqdm.keras import TqdmCallback

from tissue.common.errors import InputError
from tissue.training.averaging import AveragedWeights
from tissue.training.batches import Batches


@dataclass(frozen=True)
class FitSettings:
    """How `fit` trains.

    With `average` the learning rate stays constant after the warm-up, and the mean of the weights
    is kept. Without, the rate falls to zero as a cosine, and the weights of the epoch with the
    lowest validation loss are kept.

    Attributes:
        lr: highest learning rate, reached after the warm-up.
        epochs: of all phases together.
        average: last share of the epochs of the last phase over whose steps weights are averaged.
        patience: without `average`, epochs without a lower validation loss before training stops.
        warm_up: epochs in which the learning rate rises.
        label_smoothing: share of the target that is spread over all classes.
        lr_factors: share of the learning rate by path of a variable; 1 for those not named.
        steps_per_execution: batches in one call of the compiled step. More than one works on a
            single device only: on several, TensorFlow fails at a last batch that is smaller.
    """

    lr: float
    epochs: int
    average: float = 0.0
    patience: int = 0
    warm_up: int = 2
    label_smoothing: float = 0.0
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    steps_per_execution: int = 1

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.warm_up:
            return (epoch + 1) / (self.warm_up + 1) * self.lr
        if self.average:
            return self.lr
        angle = math.pi * (epoch - self.warm_up) / max(1, self.epochs - self.warm_up)
        return 0.5 * (1 + math.cos(angle)) * self.lr


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


class Phase(NamedTuple):
    """Some epochs of a training, with batches of their own."""

    epochs: int
    train: Batches
    val: Batches


def fit(
    model: keras.Model,
    train: Batches,
    val: Batches,
    settings: FitSettings,
    *,
    before: Sequence[Phase] = (),
    name: str = "train",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train with Adam.

    Args:
        model: from inputs to class probabilities.
        train: training batches.
        val: validation batches; they may choose the epoch, so they are not a test.
        settings: the schedule.
        before: phases that the training begins with, whose batches may have another shape. All
            phases share one schedule and one optimizer; the weights kept are of the last phase.
        name: shown in front of the progress bar.
        callbacks: called in every phase, such as `live_log`.

    Raises:
        InputError: if the loss of training or validation is no longer a number.

    Returns:
        One row per epoch: epoch and phase, both from 1, accuracy, loss, val_accuracy, val_loss, lr.
        Training figures are means over the epoch, on transformed images and with dropout.
    """
    _compile(model, settings)
    last = Phase(settings.epochs - sum(phase.epochs for phase in before), train, val)
    tables, done = [], 0
    for number, phase in enumerate((*before, last), start=1):
        shown = f"{name}, phase {number} of {len(before) + 1}" if before else name
        selection = [_select_weights(settings, last)] if phase is last else []
        tables.append(_fit_phase(model, phase, done, settings, shown, [*callbacks, *selection]))
        _check_finite(tables[-1], done=done, name=name)
        done += phase.epochs
    # Otherwise the optimizer is saved with the model, and Keras cannot load a class of ours.
    model.compiled, model.optimizer = False, None
    phases = [table.assign(phase=number) for number, table in enumerate(tables, start=1)]
    table = pd.concat(phases, ignore_index=True).rename(columns={"learning_rate": "lr"})
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table[["epoch", "phase", "accuracy", "loss", "val_accuracy", "val_loss", "lr"]]


def _compile(model: keras.Model, settings: FitSettings) -> None:
    model.compile(
        optimizer=LayerwiseAdam(settings.lr, factors=settings.lr_factors),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        steps_per_execution=settings.steps_per_execution,
    )


def _select_weights(settings: FitSettings, last: Phase) -> keras.callbacks.Callback:
    if settings.average:
        averaged = max(1, round(settings.average * last.epochs))
        return AveragedWeights(settings.epochs - averaged)
    return keras.callbacks.EarlyStopping(
        "val_loss", patience=settings.patience, restore_best_weights=True
    )


def _fit_phase(
    model: keras.Model,
    phase: Phase,
    done: int,
    settings: FitSettings,
    shown: str,
    callbacks: Sequence[keras.callbacks.Callback],
) -> pd.DataFrame:
    history = model.fit(
        phase.train,
        validation_data=phase.val,
        initial_epoch=done,
        epochs=done + phase.epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(settings.rate),
            keras.callbacks.TerminateOnNaN(),
            TqdmCallback(verbose=0, desc=shown, disable=None),
            *callbacks,
        ],
    )
    return pd.DataFrame(history.history)


def _check_finite(table: pd.DataFrame, *, done: int, name: str) -> None:
    last = table.iloc[-1]
    if not np.isfinite([last["loss"], last["val_loss"]]).all():
        raise InputError(
            f"{name}: expected a loss that falls. Received: after epoch {done + len(table)}, at a "
            f"learning rate of {last['learning_rate']:.3g}, it is no longer a number. Give a "
            "smaller lr; nothing was saved."
        )


def validation_loss(model: keras.Model, val: Batches) -> float:
    """Return the loss, with the penalties of weights, that `fit` would measure of a model."""
    model.compile(loss=keras.losses.CategoricalCrossentropy())
    measured = model.evaluate(val, verbose=0, return_dict=True)
    model.compiled, model.optimizer = False, None  # as in `fit`
    return float(measured["loss"])


class _Log(DVCLiveCallback):
    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Continue to count: the end of an earlier phase has set the step back to the last one."""
        if "step" in self.live.summary:
            self.live.step = self.live.summary["step"] + 1


def live_log(folder: Path) -> DVCLiveCallback:
    """Return a callback that logs every epoch below `folder`: one TSV per metric, steps from 0.

    `plots/metrics/{train,eval}/{loss,accuracy}.tsv` hold one line per epoch, `metrics.json` the
    last values. What an earlier training logged there is deleted; the phases of one training share
    a callback. Nothing is sent anywhere unless a token for DVC Studio is set up on this machine.
    """
    # By default Live() writes plots into the dvc.yaml of the repository and saves an experiment.
    live = Live(str(folder), dvcyaml=None, save_dvc_exp=False)
    return _Log(live=live)
