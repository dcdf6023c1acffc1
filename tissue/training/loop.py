"""The one training loop of all trainings: from scratch, of the head, and of fine-tuning."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
from tissue.training.imbalance import Balance, cross_entropy

CROSS_ENTROPY = "cross_entropy"
LOSSES = {CROSS_ENTROPY: "loss", f"val_{CROSS_ENTROPY}": "val_loss"}
COLUMNS = ("epoch", "phase", "accuracy", "loss", "val_accuracy", "val_loss", "lr")  # of a history


@dataclass(frozen=True)
class FitSettings:
    """How `fit` trains.

    With `average` the learning rate stays constant after the warm-up, and the mean of the weights
    is kept. Without, the rate falls to zero as a cosine, and the weights of the epoch with the
    lowest validation loss are kept, or the last ones if a phase has no validation.

    Attributes:
        lr: highest learning rate, reached after the warm-up.
        average: last share of the epochs of the last phase over whose steps weights are averaged.
        patience: without `average`, epochs without a lower validation loss before training stops.
        warm_up: epochs in which the learning rate rises.
        label_smoothing: share of the target that is spread over all classes.
        balance: how the loss makes up for classes of unequal size.
        lr_factors: share of the learning rate by path of a variable; 1 for those not named.
        steps_per_execution: batches in one call of the compiled step. More than one works on a
            single device only: on several, TensorFlow fails at a last batch that is smaller.
    """

    lr: float
    average: float = 0.0
    patience: int = 0
    warm_up: int = 2
    label_smoothing: float = 0.0
    balance: Balance = field(default_factory=Balance)
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    steps_per_execution: int = 1

    def rate(self, epoch: int, *, epochs: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.warm_up:
            return (epoch + 1) / (self.warm_up + 1) * self.lr
        if self.average:
            return self.lr
        angle = math.pi * (epoch - self.warm_up) / max(1, epochs - self.warm_up)
        return 0.5 * (1 + math.cos(angle)) * self.lr


class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a share of the learning rate for each variable, 1 where none is given."""

    def __init__(self, learning_rate: float, *, factors: Mapping[str, float], **kwargs: Any):
        """Take the shares by `variable.path`."""
        super().__init__(learning_rate, **kwargs)
        self.factors = dict(factors)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        # TensorFlow passes its own variables here, which have no path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.factors.get(path, 1.0))


class Phase(NamedTuple):
    """Some epochs of a training, with batches of their own."""

    epochs: int
    train: Batches
    val: Batches | None = None


def fit(
    model: keras.Model,
    phases: Sequence[Phase],
    settings: FitSettings,
    *,
    name: str = "train",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train with Adam.

    Args:
        model: from inputs to class probabilities.
        phases: trained one after the other, with one schedule and one optimizer; their batches may
            have other shapes. The weights kept are of the last phase. Validation may choose the
            epoch, so it is not a test; without it nothing is chosen.
        settings: the schedule.
        name: shown in front of the progress bar.
        callbacks: called in every phase, such as `live_log`.

    Raises:
        InputError: if the loss of training or validation is no longer a number.

    Returns:
        One row per epoch: epoch and phase, both from 1, accuracy, loss, val_accuracy, val_loss, lr.
        A loss is the cross-entropy alone: the penalty of the weights should not choose the epoch.
        Training figures are means over the epoch, on transformed images and with dropout.
    """
    model.compile(
        optimizer=LayerwiseAdam(settings.lr, factors=settings.lr_factors),
        loss=cross_entropy(settings.balance, label_smoothing=settings.label_smoothing),
        metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            _unpenalised(cross_entropy(settings.balance)),
        ],
        steps_per_execution=settings.steps_per_execution,
    )
    tables = list(_fit_phases(model, phases, settings, name=name, callbacks=callbacks))
    # Otherwise the optimizer is saved with the model, and Keras cannot load a class of ours.
    model.compiled, model.optimizer = False, None
    return _history(tables)


def _history(phases: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join the tables of all phases, with the cross-entropy in place of the penalised loss."""
    history = pd.concat(phases, ignore_index=True)
    history = history.drop(columns=["loss", "val_loss"], errors="ignore")
    history = history.rename(columns={**LOSSES, "learning_rate": "lr"})
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    return history[[column for column in COLUMNS if column in history]]


def _fit_phases(
    model: keras.Model,
    phases: Sequence[Phase],
    settings: FitSettings,
    *,
    name: str,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Iterator[pd.DataFrame]:
    epochs, done = sum(phase.epochs for phase in phases), 0
    always = [
        keras.callbacks.LearningRateScheduler(partial(settings.rate, epochs=epochs)),
        keras.callbacks.TerminateOnNaN(),
    ]
    for number, phase in enumerate(phases, start=1):
        shown = f"{name}, phase {number} of {len(phases)}" if len(phases) > 1 else name
        progress = TqdmCallback(verbose=0, desc=shown, disable=None)
        selection = _select_weights(settings, phase, epochs) if number == len(phases) else []
        history = model.fit(
            phase.train, validation_data=phase.val, initial_epoch=done, epochs=done + phase.epochs,
            verbose=0, callbacks=[*always, progress, *callbacks, *selection],
            class_weight=settings.balance.weights,
        )  # fmt: skip
        table = pd.DataFrame(history.history).assign(phase=number)
        _check_finite(table, name=name, epoch=done + len(table))
        yield table
        done += phase.epochs


def _select_weights(
    settings: FitSettings, last: Phase, epochs: int
) -> list[keras.callbacks.Callback]:
    if settings.average:
        return [AveragedWeights(epochs - max(1, round(settings.average * last.epochs)))]
    if last.val is None:
        return []
    stop = keras.callbacks.EarlyStopping(
        f"val_{CROSS_ENTROPY}", mode="min", patience=settings.patience, restore_best_weights=True
    )
    return [stop]


def _check_finite(table: pd.DataFrame, *, name: str, epoch: int) -> None:
    last = table.iloc[-1]
    if not np.isfinite(last.filter(like="loss")).all():
        raise InputError(
            f"{name}: expected a loss that falls. Received: after epoch {epoch}, at a learning "
            f"rate of {last['learning_rate']:.3g}, it is no longer a number. Give a smaller lr; "
            "nothing was saved."
        )


def _unpenalised(loss: keras.losses.Loss) -> keras.metrics.Metric:
    return keras.metrics.MeanMetricWrapper(loss.call, name=CROSS_ENTROPY)


def validation_loss(model: keras.Model, val: Batches | None, loss: keras.losses.Loss) -> float:
    """Return the validation loss as `fit` reports it, without the penalties of the weights."""
    model.compile(loss=loss, metrics=[_unpenalised(loss)])
    measured = model.evaluate(val, verbose=0, return_dict=True)
    model.compiled, model.optimizer = False, None  # as in `fit`
    return float(measured[CROSS_ENTROPY])


def log_rows(log: DVCLiveCallback, table: pd.DataFrame) -> None:
    """Log each row of a table as a step, before any training; a prefix `val_` stands for eval."""
    for row in table.rename(
        columns={"loss": CROSS_ENTROPY, "val_loss": f"val_{CROSS_ENTROPY}"}
    ).to_dict("records"):
        for name, value in row.items():
            log.live.log_metric(
                f"eval/{name[4:]}" if name.startswith("val_") else f"train/{name}", value
            )
        log.live.next_step()


class _Log(DVCLiveCallback):
    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Continue counting: the end of an earlier phase sets the step back to the last one."""
        if "step" in self.live.summary:
            self.live.step = self.live.summary["step"] + 1


def live_log(folder: Path) -> DVCLiveCallback:
    """Return a callback that logs every epoch below `folder`: one TSV per metric, steps from 0.

    `plots/metrics/{train,eval}/{loss,accuracy}.tsv` hold one line per epoch, `metrics.json` the
    last values. An earlier log there is deleted; the phases of one training share a callback.
    Nothing is sent anywhere unless a token for DVC Studio is set up on this machine.
    """
    # By default Live() writes plots into the dvc.yaml of the repository and saves an experiment.
    live = Live(str(folder), dvcyaml=None, save_dvc_exp=False)
    return _Log(live=live)
