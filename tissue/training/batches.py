"""Batches for training and validation: in order, or shuffled and transformed in each epoch."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Transform = Callable[[Any, np.random.Generator], Any]


class Batches(keras.utils.PyDataset):
    """Batches of inputs and one-hot targets.

    A batch depends only on the seed, the epoch and its number, so it can be prepared ahead.
    """

    def __init__(
        self,
        inputs: Any,
        targets: NDArray[np.floating],
        *,
        batch_size: int,
        seed: int | None = None,
        transform: Transform | None = None,
        epoch: int = 0,
        least: int = 0,
    ) -> None:
        """Serve inputs and targets, shuffled if a seed is given.

        Args:
            inputs: array (N, ...), memory-mapped or not, or several by name of the model's input.
            targets: probabilities (N, classes), as from `keras.utils.to_categorical`.
            batch_size: rows in a batch; the last batch of an epoch may have fewer.
            seed: of the order of the rows and of `transform`; None keeps the order.
            transform: maps some rows of `inputs` and a generator to inputs of the model.
            epoch: number of the first epoch.
            least: rows in an epoch at least; fewer are served again, in another order.
        """
        super().__init__(workers=1)
        self.inputs, self.targets = inputs, np.asarray(targets, np.float32)
        self.batch_size, self.seed, self.transform = batch_size, seed, transform
        self.epoch, self.rows = epoch, max(len(targets), least)
        self._shuffle()

    def _shuffle(self) -> None:
        rounds = [np.arange(len(self.targets))] * math.ceil(self.rows / len(self.targets))
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch])
            rounds = [rng.permutation(rows) for rows in rounds]
        self._order = np.concatenate(rounds)[: self.rows]

    def __len__(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    def __getitem__(self, number: int) -> tuple[Any, NDArray[np.float32]]:
        rows = np.sort(self._order[number * self.batch_size : (number + 1) * self.batch_size])
        inputs = keras.tree.map_structure(lambda array: np.asarray(array[rows]), self.inputs)
        if self.transform is not None:
            rng = np.random.default_rng([self.seed or 0, self.epoch, number])
            inputs = self.transform(inputs, rng)
        return inputs, self.targets[rows]

    def on_epoch_end(self) -> None:
        """Go on to the next epoch, with another order and other transforms."""
        self.epoch += 1
        self._shuffle()
