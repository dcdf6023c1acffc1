"""Batches of a training: in order, or shuffled and transformed anew in each epoch."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

Transform = Callable[[Any, np.random.Generator], Any]


class Rows(Protocol):
    """An array, or several arrays with the same number of rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64]) -> Any:
        """Return some rows: an array, or a dictionary of arrays by name of the model's input."""


class Batches(keras.utils.PyDataset):
    """Batches of inputs and one-hot labels.

    A batch depends only on the seed, the epoch and its number, so it can be prepared ahead.
    """

    def __init__(
        self,
        inputs: Rows,
        labels: NDArray[np.int64],
        *,
        classes: int,
        batch_size: int,
        seed: int | None = None,
        transform: Transform | None = None,
        epoch: int = 0,
    ) -> None:
        """Serve inputs and labels, shuffled if a seed is given.

        Args:
            inputs: (N, ...), an array, memory-mapped or not, or `Rows`.
            labels: class numbers (N,).
            classes: number of classes.
            batch_size: rows in a batch; the last batch of an epoch may have fewer.
            seed: of the order of the rows and of `transform`; None keeps the order.
            transform: called with some rows of `inputs` and a generator, returns the like.
            epoch: number of the first epoch.
        """
        super().__init__(workers=1)
        self.inputs, self.targets = inputs, np.eye(classes, dtype=np.float32)[labels]
        self.batch_size, self.seed, self.transform = batch_size, seed, transform
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
        inputs = self.inputs[rows]
        if self.transform is not None:
            rng = np.random.default_rng([self.seed or 0, self.epoch, number])
            inputs = self.transform(inputs, rng)
        return inputs, self.targets[rows]

    def on_epoch_end(self) -> None:
        """Shuffle and transform anew in the next epoch."""
        self.epoch += 1
        self._order = self._shuffled()
