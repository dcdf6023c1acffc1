"""The mean of the weights over training steps, and batch normalisation that fits it."""

from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from tissue.training.batches import Batches


class AveragedWeights(keras.callbacks.Callback):
    """Set the weights to their mean over all steps from epoch `first` on, counted from 0.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407) over every step, as
    Cha et al. (2021, arXiv 2102.08604) propose for test images that differ from training: the mean
    lies in a flatter minimum than its parts. Validation measures the mean, too. It does not fit the
    statistics of batch normalisation: see `update_bn`.
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first, self.epoch, self.count = first, 0, 0
        self.variables = list[keras.Variable]()
        self.sums, self.latest = list[NDArray[np.float64]](), list[NDArray[np.float32]]()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Collect the variables that training changes: reading all would take longer."""
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
        """Validate the mean."""
        if self.count:
            self.latest = [variable.numpy() for variable in self.variables]
            self._set_mean()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Continue training from the weights of the last step."""
        if self.count:
            self._set(self.latest)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Keep the mean, if training reached epoch `first`."""
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


def update_bn(model: keras.Model, train: Batches) -> None:
    """Set mean and variance of batch normalisation to their means over one epoch of batches.

    Frozen layers keep theirs. Named after PyTorch's function.
    """
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    momenta = [layer.momentum for layer in norms]
    sums = [np.zeros((2, *layer.moving_mean.shape)) for layer in norms]
    for layer in norms:
        layer.momentum = 0.0  # the statistics are then those of the last batch
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
