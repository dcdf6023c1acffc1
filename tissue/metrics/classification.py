"""Metrics of predictions, for each model, and a paired test of the two models."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, f1_score, recall_score, top_k_accuracy_score

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.data.index import Dataset
from tissue.metrics.intervals import Sampling, bootstrap, macro_f1, mean_interval, share_interval

CALIBRATION_BINS = 15


def prediction_table(
    index: pd.DataFrame, probabilities: NDArray[np.float32], *, split: str, classes: Sequence[str]
) -> pd.DataFrame:
    """Return id, split, class, predicted, confidence and p_<class> for each row of an index."""
    table = pd.DataFrame(
        {
            "id": index["id"].to_numpy(),
            "split": split,
            "class": index["class"].to_numpy(),
            "predicted": np.asarray(classes)[probabilities.argmax(axis=1)],
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


def measure_models(
    tables: Mapping[str, pd.DataFrame],
    donors: pd.Series,
    *,
    classes: Sequence[str],
    parameters: Mapping[str, int],
    sampling: Sampling,
) -> dict[str, dict[str, Any]]:
    """Return the content of `metrics/{scratch,pretrained,comparison}.json`, by name.

    Args:
        tables: by model, predictions of all splits, as from `prediction_tables`.
        donors: the donor of each test image, in the order of the tables.
        classes: all class names.
        parameters: number of weights of each model.
        sampling: of donors, for the intervals.
    """
    tests = {name: table[table["split"] == "test"] for name, table in tables.items()}
    comparison = paired_comparison(tests["scratch"], tests["pretrained"], donors, sampling=sampling)
    measured: dict[str, dict[str, Any]] = {"comparison": {"test": comparison}}
    for name, table in tables.items():
        correct = table["class"] == table["predicted"]
        accuracy = {split: float(rows.mean()) for split, rows in correct.groupby(table["split"])}
        measured[name] = {
            "train": {"accuracy": accuracy["train"]},
            "val": {"accuracy": accuracy["val"]},
            "test": split_metrics(tests[name], donors, classes=classes, sampling=sampling),
            "parameters": parameters[name],
        }
    return measured


def split_metrics(
    table: pd.DataFrame, donors: pd.Series, *, classes: Sequence[str], sampling: Sampling
) -> dict[str, Any]:
    """Return the metrics of the predictions of one split, with intervals by donor.

    Balanced accuracy is the mean over the classes that have images, macro-F1 that over the classes
    that occur as actual or as predicted.
    """
    actual, predicted = table["class"], table["predicted"]
    correct = (actual == predicted).to_numpy(float)
    low, high = share_interval(correct, donors, sampling=sampling)
    one_hot = one_hot_confusions(table, classes)
    f1_low, f1_high = bootstrap(one_hot, donors, macro_f1, sampling=sampling)
    if f1_low == f1_high:  # all donors are alike, for example all correct
        f1_low, f1_high = low, high
    present = [name for name in classes if (actual == name).any()]
    recalls = recall_score(actual, predicted, labels=present, average=None, zero_division=0)
    values = {
        "n": len(table),
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": float(f1_score(actual, predicted, average="macro", zero_division=0)),
        "macro_f1_low": f1_low,
        "macro_f1_high": f1_high,
        "balanced_accuracy": float(recalls.mean()),
        # It is undefined if all images are of one class: chance alone then agrees fully.
        "kappa": float(np.nan_to_num(cohen_kappa_score(actual, predicted))),
        "ece": calibration_error(table),
        "recall": dict(zip(present, map(float, recalls), strict=True)),
    }
    if len(classes) > 3:
        scores = table[[f"p_{name}" for name in classes]]
        top3 = top_k_accuracy_score(actual, scores, k=3, labels=list(classes))
        values["top3_accuracy"] = float(top3)
    if is_atlas(classes):
        for name, joined in (("accuracy_10_tissues", TISSUES), ("accuracy_8_systems", SYSTEMS)):
            values[name] = float((actual.map(joined) == predicted.map(joined)).mean())
    return values


def calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy over bins.

    15 bins of equal width, as in Guo et al. 2017, arXiv 1706.04599.
    """
    correct = (table["class"] == table["predicted"]).astype(float)
    gaps = (correct - table["confidence"]).groupby(calibration_bins(table)).sum().abs()
    return float(gaps.sum() / len(table))


def calibration_bins(table: pd.DataFrame) -> pd.Series:
    """Return the number of the confidence bin of each image."""
    return np.minimum((table["confidence"] * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def paired_comparison(
    first: pd.DataFrame, second: pd.DataFrame, donors: pd.Series, *, sampling: Sampling
) -> dict[str, Any]:
    """Compare two models on the same images, `first` and `second` row by row.

    The p-value is that of McNemar's exact test: of the images that only one model classifies
    correctly, does each model have half? It treats images as independent, so its p-values are too
    small if a donor has several images. The interval of the difference resamples donors. A
    difference is beyond chance only if both agree, see `is_beyond_chance`.
    """
    a = (first["class"] == first["predicted"]).to_numpy()
    b = (second["class"] == second["predicted"]).to_numpy()
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    difference = b.astype(float) - a.astype(float)
    low, high = mean_interval(difference, donors, sampling=sampling)
    differing = only_a + only_b
    if not differing:  # other images may still differ, in either direction
        high = share_interval(difference, donors, sampling=sampling).high
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
    keys = ["model", "actual", "predicted"]
    every = pd.concat(tables, names=["model"]).reset_index("model")
    counts = (
        every.rename(columns={"class": "actual"}).groupby(keys).size().reset_index(name="count")
    )
    counts["n"] = counts.groupby(["model", "actual"])["count"].transform("sum")
    counts.insert(4, "share", counts["count"] / counts["n"])
    wrong = counts[counts["actual"] != counts["predicted"]]
    order = ["count", "share", *keys]
    return wrong.sort_values(order, ascending=[False, False, True, True, True], ignore_index=True)


def one_hot_confusions(table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the confusion matrix of each row alone, flattened, float64 (N, C * C)."""
    labels = {name: label for label, name in enumerate(classes)}
    cells = table["class"].map(labels) * len(classes) + table["predicted"].map(labels)
    # Not rows of np.eye(C * C), which takes 13 GB with 200 classes.
    one_hot = np.zeros((len(table), len(classes) ** 2))
    one_hot[np.arange(len(table)), cells.to_numpy()] = 1
    return one_hot
