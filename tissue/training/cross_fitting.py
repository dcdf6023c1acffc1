"""Predictions of the head for images whose donors it has not seen, to set its temperature."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from tissue.config.schema import Params
from tissue.data.shards import RowSelection, Shards, shards_of
from tissue.training.head import Examples, train_head
from tissue.training.inference import BATCH


def predict_out_of_fold(
    params: Params,
    train: Sequence[Examples],
    val: Examples,
    groups: tuple[pd.Series, pd.Series],
    *,
    classes: int,
    several_gpus: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return probabilities float32 (N, views, classes) and labels of training and validation.

    Each image is predicted by a head that was trained on other donors only, so no image is judged
    by what was fitted to it, as validation is by the head whose epoch it chose. These heads are
    trained for all epochs: nothing is chosen in their folds.

    Args:
        params: as for `train_head`, and `pretrained.calibration_folds`.
        train: see `train_head`; restained images stay in the fold of their originals.
        val: likewise.
        groups: the donors of training and of validation.
        classes: number of classes.
        several_gpus: whether several GPUs train.
    """
    features, labels = _join(train[0], val)
    donors = np.concatenate([names.to_numpy(str) for names in groups])
    probabilities = np.zeros((*features.shape[:2], classes), np.float32)
    for number, (seen, unseen) in enumerate(_folds(params, labels, donors), start=1):
        examples = [_take((features, labels), seen)]
        # Of restained images there are those of training only, which come first.
        examples += [_take(one, seen[seen < len(one[1])]) for one in train[1:]]
        head, _ = train_head(
            params, examples, None, classes=classes, several_gpus=several_gpus,
            name=f"calibrate, fold {number}",
        )  # fmt: skip
        for rows in np.split(unseen, range(BATCH, len(unseen), BATCH)):
            batch = np.asarray(_take((features, labels), rows)[0][:])
            # Not `predict`, which would be compiled anew, and warn of that, for each head.
            answers = np.asarray(head(batch.reshape(-1, batch.shape[-1]), training=False))
            probabilities[rows] = answers.reshape(*batch.shape[:2], -1)
    return probabilities, labels


def _folds(
    params: Params, labels: NDArray[np.int64], donors: NDArray[np.str_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    most = min(len(np.unique(donors)), np.bincount(labels).max())
    folds = min(params.pretrained.calibration_folds, most)
    division = StratifiedGroupKFold(folds, shuffle=True, random_state=params.seed)
    return division.split(labels, labels, donors)


def _join(first: Examples, second: Examples) -> Examples:
    (one, one_labels), (two, two_labels) = first, second
    arrays = Shards([*shards_of(one.array), *shards_of(two.array)])
    rows = np.concatenate([one.rows, len(one.array) + two.rows])
    return RowSelection(arrays, rows), np.concatenate([one_labels, two_labels])


def _take(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    features, labels = examples
    return RowSelection(features.array, features.rows[rows]), labels[rows]
