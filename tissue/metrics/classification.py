"""Metrics of predictions: a table a model and, for the two models, a paired test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import (
    cohen_kappa_score,
    f1_score,
    recall_score,
    top_k_accuracy_score,
)

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.data.index import Dataset
from tissue.metrics.intervals import Sampling, bootstrap, macro_f1, mean_interval, share_interval

CALIBRATION_BINS = 15


def prediction_table(
    index: pd.DataFrame, probabilities: NDArray[np.float32], *, split: str, classes: Sequence[str]
) -> pd.DataFrame:
    """Return id, split, class, predicted, confidence and p_<class> for each row of an index."""
    chosen = probabilities.argmax(axis=1)
    table = pd.DataFrame(
        {
            "id": index["id"].to_numpy(),
            "split": split,
            "class": index["class"].to_numpy(),
            "predicted": np.asarray(classes)[chosen],
            "confidence": probabilities.max(axis=1),
        }
    )
    columns = {f"p_{name}": probabilities[:, label] for label, name in enumerate(classes)}
    return table.assign(**columns)


def prediction_tables(
    probabilities: Mapping[str, NDArray[np.float32]],
    datasets: Mapping[str, Dataset],
    *,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Return the prediction tables of all splits, one below the other."""
    tables = [
        prediction_table(datasets[name].index, values, split=name, classes=classes)
        for name, values in probabilities.items()
    ]
    return pd.concat(tables, ignore_index=True)


def model_metrics(
    table: pd.DataFrame,
    groups: pd.Series,
    *,
    classes: Sequence[str],
    parameters: int,
    sampling: Sampling,
) -> dict[str, Any]:
    """Return all metrics of a model, nested as in `metrics/<model>.json`.

    Args:
        table: predictions of training, validation and test part, as from `prediction_table`.
        groups: the donor of each test image, in the order of the table.
        classes: all class names.
        parameters: number of weights of the model.
        sampling: of donors, for the intervals.
    """
    right = table["class"] == table["predicted"]
    accuracy = {part: float(rows.mean()) for part, rows in right.groupby(table["split"])}
    test = test_metrics(table[table["split"] == "test"], groups, classes=classes, sampling=sampling)
    return {
        "train": {"accuracy": accuracy["train"]},
        "val": {"accuracy": accuracy["val"]},
        "test": test,
        "parameters": parameters,
    }


def test_metrics(
    table: pd.DataFrame, groups: pd.Series, *, classes: Sequence[str], sampling: Sampling
) -> dict[str, Any]:
    """Return the metrics of a prediction table of the test part.

    Args:
        table: as from `prediction_table`.
        groups: the donor of each row, for the intervals.
        classes: all class names; only those with test images count in balanced accuracy, and those
            that occur as actual or as predicted in macro-F1.
        sampling: of donors, for the intervals.
    """
    actual, predicted = table["class"], table["predicted"]
    present = [name for name in classes if (actual == name).any()]
    right = (actual == predicted).to_numpy(float)
    low, high = share_interval(right, groups, sampling=sampling)
    f1_low, f1_high = bootstrap(
        one_hot_confusions(table, classes), groups, macro_f1, sampling=sampling
    )
    if f1_low == f1_high:  # where all groups are alike, such as all right
        f1_low, f1_high = low, high
    recalls = recall_score(actual, predicted, labels=present, average=None, zero_division=0)
    values = {
        "n": len(table),
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": float(f1_score(actual, predicted, average="macro", zero_division=0)),
        "macro_f1_low": f1_low,
        "macro_f1_high": f1_high,
        "balanced_accuracy": float(recalls.mean()),
        # Where all are of one class, chance alone agrees, and nothing shows beyond it.
        "kappa": float(np.nan_to_num(cohen_kappa_score(actual, predicted))),
        "ece": calibration_error(table),
        "recall": dict(zip(present, map(float, recalls), strict=True)),
    }
    if len(classes) > 3:
        probabilities = table[[f"p_{name}" for name in classes]]
        values["top3_accuracy"] = float(
            top_k_accuracy_score(actual, probabilities, k=3, labels=list(classes))
        )
    if is_atlas(classes):
        values["accuracy_10_tissues"] = _joined_accuracy(table, TISSUES)
        values["accuracy_8_systems"] = _joined_accuracy(table, SYSTEMS)
    return values


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins.

    15 bins of equal width, as in Guo et al. 2017, arXiv 1706.04599.
    """
    right = (table["class"] == table["predicted"]).astype(float)
    gaps = (right - table["confidence"]).groupby(calibration_bins(table)).sum().abs()
    return float(gaps.sum() / len(table))


def calibration_bins(table: pd.DataFrame) -> pd.Series:
    """Return the number of the bin of confidence that each image falls into."""
    return np.minimum((table["confidence"] * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def paired_comparison(
    first: pd.DataFrame, second: pd.DataFrame, groups: pd.Series, *, sampling: Sampling
) -> dict[str, Any]:
    """Compare two models on the same images, `first` and `second` row by row.

    The p-value is that of McNemar's exact test: among the images that only one model gets right,
    are the two equally often right? It takes images as independent, which those of a donor are
    not, so that it errs often where donors are few. The interval of the difference resamples
    donors: only the two together tell more than chance.
    """
    a = (first["class"] == first["predicted"]).to_numpy()
    b = (second["class"] == second["predicted"]).to_numpy()
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    difference = b.astype(float) - a.astype(float)
    low, high = mean_interval(difference, groups, sampling=sampling)
    differing = only_a + only_b
    if not differing:  # so do some of those that were not asked, as likely for one as for the other
        high = share_interval(difference, groups, sampling=sampling).high
        low = -high
    return {
        "n": len(a),
        "both_right": int((a & b).sum()),
        "both_wrong": int((~a & ~b).sum()),
        "only_scratch": only_a,
        "only_pretrained": only_b,
        "difference": float(difference.mean()),
        "difference_low": low,
        "difference_high": high,
        "p_value": float(binomtest(only_a, differing).pvalue) if differing else 1.0,
    }


def confusions(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return model, actual, predicted, count, share of the actual class and its n, worst first."""
    rows = []
    for model, table in tables.items():
        sizes = table["class"].value_counts()
        wrong = table[table["class"] != table["predicted"]]
        for (actual, predicted), count in wrong.groupby(["class", "predicted"]).size().items():
            n = int(sizes[actual])
            rows.append((model, actual, predicted, int(count), count / n, n))
    frame = pd.DataFrame(rows, columns=["model", "actual", "predicted", "count", "share", "n"])
    order = ["count", "share", "model", "actual", "predicted"]
    ascending = [False, False, True, True, True]
    return frame.sort_values(order, ascending=ascending, ignore_index=True)


def _joined_accuracy(table: pd.DataFrame, names: Mapping[str, str]) -> float:
    return float((table["class"].map(names) == table["predicted"].map(names)).mean())


def one_hot_confusions(table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the confusion matrix of each row alone, flattened, float64 (N, C * C)."""
    labels = {name: label for label, name in enumerate(classes)}
    cells = table["class"].map(labels) * len(classes) + table["predicted"].map(labels)
    # Rows of a unit matrix would need all of it: 13 GB with 200 classes.
    one_hot = np.zeros((len(table), len(classes) ** 2))
    one_hot[np.arange(len(table)), cells.to_numpy()] = 1
    return one_hot
