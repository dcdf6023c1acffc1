"""Metrics of predictions, for each model, with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.metrics.calibration import calibration_metrics, selective_error
from tissue.metrics.intervals import (
    Clusters,
    Sampling,
    Statistic,
    clusters_of,
    share_interval,
    statistic_interval,
)
from tissue.metrics.paired import paired_comparison
from tissue.metrics.predictions import TOP, is_in_top, measure_cases
from tissue.metrics.ranking import ranking_metrics


def measure_models(
    tables: Mapping[str, pd.DataFrame],
    images: Mapping[str, pd.DataFrame],
    *,
    classes: Sequence[str],
    parameters: Mapping[str, int],
    sampling: Sampling,
) -> dict[str, dict[str, Any]]:
    """Return the content of `metrics/{scratch,pretrained,comparison}.json`, by name.

    Args:
        tables: by model, predictions of all splits, as from `prediction_tables`.
        images: the table of each split, which names donors and antibodies, row by row.
        classes: all class names.
        parameters: number of weights of each model.
        sampling: of the paired test and of the chance level of calibration.
    """
    tests = {name: table[table["split"] == "test"] for name, table in tables.items()}
    clusters = {split: clusters_of(index) for split, index in images.items()}
    comparison = paired_comparison(
        tests["scratch"], tests["pretrained"], clusters["test"], sampling=sampling
    )
    measured: dict[str, dict[str, Any]] = {"comparison": {"test": comparison}}
    for name, table in tables.items():
        fitted = {split: table[table["split"] == split] for split in ("train", "val")}
        test = split_metrics(tests[name], clusters["test"], classes=classes, sampling=sampling)
        test["answered"] = selective_error(fitted["val"], tests[name], clusters["test"])
        measured[name] = {
            **{split: _accuracy(rows, clusters[split]) for split, rows in fitted.items()},
            "test": test,
            "parameters": parameters[name],
        }
    return measured


def split_metrics(
    table: pd.DataFrame,
    images: pd.DataFrame | ArrayLike | Clusters,
    *,
    classes: Sequence[str],
    sampling: Sampling,
) -> dict[str, Any]:
    """Return the metrics of the predictions of one split, each with its interval.

    Balanced accuracy is the mean over the classes that have images, macro-F1 that over the classes
    that occur as actual or as predicted.
    """
    clusters = clusters_of(images)
    actual, predicted = table["class"], table["predicted"]
    values: dict[str, Any] = {"n": len(table), **_accuracy(table, clusters)}
    counted = class_counts(table, classes)
    for key, (statistic, bounds) in STATISTICS.items():
        interval = statistic_interval(counted, clusters, statistic, bounds=bounds)
        values |= _with_interval(key, float(statistic(counted.sum(axis=0))), interval)
    values |= ranking_metrics(table, clusters, classes)
    values |= calibration_metrics(table, clusters, classes=classes, sampling=sampling)
    values |= _recalls(table, clusters, classes)
    if len(classes) > TOP:
        values |= _share("top3_accuracy", is_in_top(table), clusters)
    values |= measure_cases(table, clusters)
    if is_atlas(classes):
        for name, joined in (("accuracy_10_tissues", TISSUES), ("accuracy_8_systems", SYSTEMS)):
            values |= _share(name, actual.map(joined) == predicted.map(joined), clusters)
    return values


def _accuracy(table: pd.DataFrame, clusters: Clusters) -> dict[str, float]:
    return _share("accuracy", table["class"] == table["predicted"], clusters)


def _share(key: str, hits: ArrayLike, clusters: Clusters) -> dict[str, float]:
    column = np.asarray(hits, float)
    return _with_interval(key, float(column.mean()), share_interval(column, clusters))


def _with_interval(key: str, value: float, bounds: tuple[float, float]) -> dict[str, float]:
    return {key: value, f"{key}_low": bounds[0], f"{key}_high": bounds[1]}


def _recalls(
    table: pd.DataFrame, clusters: Clusters, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return `recall`, `recall_low` and `recall_high` of each class that has images."""
    found: dict[str, dict[str, float]] = {"recall": {}, "recall_low": {}, "recall_high": {}}
    for name in classes:
        rows = (table["class"] == name).to_numpy()
        if rows.any():
            hits = (table["predicted"] == name).to_numpy()[rows]
            for key, value in _share("recall", hits, clusters.take(rows)).items():
                found[key][name] = value
    return found


def class_counts(table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return for each image (N, 3 * C) which class is right, which actual, and which predicted."""
    actual, predicted = (
        pd.Index(classes).get_indexer(table[key]) for key in ("class", "predicted")
    )
    rows, counts = np.arange(len(table)), np.zeros((len(table), 3, len(classes)))
    counts[rows, 0, actual] = actual == predicted
    counts[rows, 1, actual] = 1
    counts[rows, 2, predicted] = 1
    return counts.reshape(len(table), -1)


def _of_classes(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of right, actual and predicted images (3, ..., C) of `class_counts`."""
    return np.moveaxis(counts.reshape(*counts.shape[:-1], 3, -1), -2, 0)


def balanced_accuracy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean recall of the classes that have images, from sums of `class_counts`."""
    right, actual, _ = _of_classes(counts)
    present = actual > 0
    return (right / np.where(present, actual, 1)).sum(-1) / present.sum(-1)


def macro_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro-F1, from sums (..., 3 * C) of `class_counts`.

    As in scikit-learn, the mean is over the classes that occur as actual or as predicted.
    """
    right, actual, predicted = _of_classes(counts)
    total = actual + predicted
    present = total > 0
    return (2 * right / np.where(present, total, 1)).sum(-1) / present.sum(-1)


def kappa(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Cohen's kappa, from sums of `class_counts`.

    It is 0 where it is undefined: all images of one class, so that chance alone agrees fully.
    """
    right, actual, predicted = _of_classes(counts)
    n = actual.sum(-1)
    by_chance = (actual * predicted).sum(-1) / n**2
    defined = by_chance < 1
    return np.where(defined, right.sum(-1) / n - by_chance, 0) / np.where(defined, 1 - by_chance, 1)


# With their bounds, of metrics/<model>.json.
STATISTICS: dict[str, tuple[Statistic, tuple[float, float]]] = {
    "balanced_accuracy": (balanced_accuracy, (0.0, 1.0)),
    "macro_f1": (macro_f1, (0.0, 1.0)),
    "kappa": (kappa, (-1.0, 1.0)),
}
