"""The penalty of the head chosen by cross-validation, whose predictions also calibrate it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.config.schema import Params
from tissue.training.calibration import divide_logits
from tissue.training.head import (
    BLOCK,
    Coefficients,
    Examples,
    Features,
    fit_path,
    mean_of_views,
)
from tissue.training.imbalance import Balance, balance_classes
from tissue.training.model_file import HELD_OUT, read_arrays

# On half the squared coefficients of standardised features, beside the mean loss; strong to weak.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
LEAST = 1e-12  # probability whose logarithm is finite
Rows = NDArray[np.int64]
Scores = list[tuple[float, float]]  # accuracy and loss by penalty


class Choice(NamedTuple):
    """What cross-validation found.

    Attributes:
        penalty: that with the lowest loss of the images held out.
        curve: one row per penalty, with its accuracy and loss in the training part of the folds
            and on what is held out (`val_accuracy`, `val_loss`).
        probabilities: those of each view with this penalty, each by a head that has not seen the
            donor, float64 (N, views, classes), for the images of training, then of validation.
        labels: of these, (N,).
    """

    penalty: float
    curve: pd.DataFrame
    probabilities: Features
    labels: NDArray[np.int64]


def choose_penalty(
    params: Params,
    train: Sequence[Examples],
    val: Examples,
    groups: tuple[pd.Series, pd.Series],
    *,
    classes: int,
) -> Choice:
    """Cross-validate the head over training and validation, in folds of whole donors.

    Args:
        params: `pretrained.penalty`, `pretrained.folds`, `class_weights` and `seed` are used.
        train: features and labels of the training images, then of the same images restained, if
            any, which stay in the fold of their originals.
        val: likewise of validation.
        groups: the donors of training and of validation.
        classes: number of classes.
    """
    penalties = (params.pretrained.penalty,) if params.pretrained.penalty else PENALTIES
    means = [mean_of_views(features) for features, _ in (train[0], val, *train[1:])]
    plain, restained = np.concatenate(means[:2]), means[2:]
    labels, donors = np.concatenate([train[0][1], val[1]]), np.concatenate(groups).astype(str)

    def fit_fold(seen: Rows, unseen: Rows) -> tuple[Scores, Features]:
        values, answers = _rows_to_fit(seen, plain, restained, labels)
        balance = balance_classes(labels[seen], params.class_weights, classes=classes)
        fits = fit_path(values, answers, penalties, balance=balance, classes=classes)
        scores = [_score(one.predict(values), answers, balance) for one in fits]
        return scores, _predict_views(fits, (train[0], val), unseen)

    folds = list(_folds(params, labels, donors))
    with ThreadPoolExecutor(params.threads) as pool:
        fits = pool.map(fit_fold, *zip(*folds, strict=True))
        training, parts = zip(
            *tqdm(fits, "train_pretrained", len(folds), disable=None), strict=True
        )
    order = np.argsort(np.concatenate([unseen for _, unseen in folds]))
    probabilities = np.concatenate(parts, axis=1)[:, order]
    balance = balance_classes(labels, params.class_weights, classes=classes)
    return _choose(penalties, np.array(training), probabilities, labels, balance)


def _choose(
    penalties: Sequence[float],
    training: NDArray[Any],
    probabilities: Features,
    labels: NDArray[np.int64],
    balance: Balance,
) -> Choice:
    """Choose by the loss of what was held out; `training` are scores (folds, penalties, 2)."""
    held_out = np.array([_score(each.mean(axis=1), labels, balance) for each in probabilities])
    seen = training.mean(axis=0)
    curve = pd.DataFrame({
        "penalty": penalties,
        "accuracy": seen[:, 0], "loss": seen[:, 1],
        "val_accuracy": held_out[:, 0], "val_loss": held_out[:, 1],
    })  # fmt: skip
    best = int(held_out[:, 1].argmin())
    return Choice(penalties[best], curve, probabilities[best], labels)


def held_out_arrays(
    ids: pd.Series, probabilities: Features, *, divisor: float
) -> dict[str, NDArray[Any]]:
    """Return what the folds said of validation, to be kept in the file of the model.

    The head itself is fitted to validation, too, so it cannot be measured there.

    Args:
        ids: of the validation images (N,).
        probabilities: those of heads that have not seen the donor, (N, views, classes).
        divisor: the temperature of the head.
    """
    return {
        "ids": ids.to_numpy(str),
        "probabilities": divide_logits(probabilities, divisor).mean(axis=1),
    }


def read_held_out(path: Path, ids: pd.Series) -> dict[str, NDArray[np.float32]]:
    """Return `val` with its probabilities (N, classes); nothing if validation chose an epoch.

    Args:
        path: the file of the pretrained model.
        ids: of the validation images (N,), in the order wanted.

    Raises:
        InputError: if the model was fitted with other validation images.
    """
    kept = read_arrays(path, HELD_OUT)
    if not kept:
        return {}
    known = pd.Index(kept.get("ids", []))
    rows = known.get_indexer(ids)
    if len(rows) != len(kept.get("probabilities", [])) or (rows < 0).any():
        raise InputError(
            f"{path}: expected a model fitted with the {len(ids)} validation images of data/split. "
            f"Received: one fitted with {len(known)}, of which {(rows >= 0).sum()} are the same. "
            "Run `dvc repro train_pretrained`."
        )
    return {"val": kept["probabilities"][rows]}


def _folds(
    params: Params, labels: NDArray[np.int64], donors: NDArray[np.str_]
) -> Iterator[tuple[Rows, Rows]]:
    most = min(len(np.unique(donors)), np.bincount(labels).max())
    folds = min(params.pretrained.folds, most)
    division = StratifiedGroupKFold(folds, shuffle=True, random_state=params.seed)
    return division.split(labels, labels, donors)


def _rows_to_fit(
    seen: NDArray[np.int64],
    plain: Features,
    restained: Sequence[Features],
    labels: NDArray[np.int64],
) -> tuple[Features, NDArray[np.int64]]:
    """Return features and labels of the images of a fold, then of the same images restained."""
    # Of restained images there are those of training only, which come first.
    rows = [seen, *(seen[seen < len(one)] for one in restained)]
    values = [one[of] for one, of in zip([plain, *restained], rows, strict=True)]
    return np.concatenate(values), np.concatenate([labels[of] for of in rows])


def _predict_views(
    fits: Sequence[Coefficients], examples: tuple[Examples, Examples], rows: NDArray[np.int64]
) -> Features:
    """Return probabilities (fits, N, views, classes) of rows of training, then of validation."""
    (train, _), (val, _) = examples
    parts = [(train, rows[rows < len(train)]), (val, rows[rows >= len(train)] - len(train))]
    blocks = [
        features[some[at : at + BLOCK]]
        for features, some in parts
        for at in range(0, len(some), BLOCK)
    ]
    return np.concatenate([[fit.predict(block) for fit in fits] for block in blocks], axis=1)


def _score(
    probabilities: Features, labels: NDArray[np.int64], balance: Balance
) -> tuple[float, float]:
    """Return accuracy and loss (N, classes); the loss is the one that the head is fitted with."""
    right = float((probabilities.argmax(axis=1) == labels).mean())
    if balance.prior is not None:
        probabilities = probabilities * balance.prior
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    of_label = np.maximum(probabilities[np.arange(len(labels)), labels], LEAST)
    weights = [(balance.weights or {}).get(label, 1.0) for label in labels.tolist()]
    return right, float(np.average(-np.log(of_label), weights=weights))
