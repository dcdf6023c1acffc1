"""Tables of predictions: a row for each image, a column for the probability of each class.

Several pictures of a case, such as those of one donor, can be pooled to one answer.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.data.index import Dataset
from tissue.metrics.intervals import Clusters, share_interval

TOP = 3
SMALLEST = 1e-6  # of a probability, so that its logarithm is finite


def prediction_table(
    index: pd.DataFrame, probabilities: NDArray[np.float32], *, split: str, classes: Sequence[str]
) -> pd.DataFrame:
    """Return id, split, class, predicted, confidence, dissent and p_<class>, by row.

    Probabilities (N, views, classes), of which the mean is taken, or (N, classes) have the digits
    that `write_table` keeps, so that metrics can be derived again from what it wrote. For `dissent`
    see `views_dissent`; it is 0 without views.
    """
    dissent = np.zeros(len(probabilities))
    if probabilities.ndim == 3:
        dissent = views_dissent(probabilities)
        probabilities = probabilities.mean(axis=1)
    written = _with_six_digits(probabilities)
    table = pd.DataFrame(
        {
            "id": index["id"].to_numpy(),
            "split": split,
            "class": index["class"].to_numpy(),
            "predicted": np.asarray(classes)[written.argmax(axis=1)],
            "confidence": written.max(axis=1),
            "dissent": dissent,
        }
    )
    columns = {f"p_{name}": written[:, label] for label, name in enumerate(classes)}
    return table.assign(**columns)


def views_dissent(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the largest log odds (N,), in one view, of another class against that of the mean.

    Above 0, a view gets another class. Probabilities are (N, views, classes).
    """
    logs = np.log(np.maximum(probabilities, SMALLEST, dtype=np.float64))
    rows, chosen = np.arange(len(logs)), probabilities.mean(axis=1).argmax(axis=1)
    own = logs[rows, :, chosen].copy()
    logs[rows, :, chosen] = np.log(SMALLEST)  # no other class is less probable
    return (logs.max(axis=2) - own).max(axis=1)


def _with_six_digits(values: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = values.astype(np.float64)
    smallest = np.finfo(np.float32).tiny
    unit = 10.0 ** (5 - np.floor(np.log10(np.maximum(exact, smallest))))
    return np.round(exact * unit) / unit


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


def class_shares(table: pd.DataFrame) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return the classes (C,) of a table of predictions, and their probabilities (N, C)."""
    columns = [column for column in table if column.startswith("p_")]
    names = np.array([column.removeprefix("p_") for column in columns])
    return names, table[columns].to_numpy()


def is_in_top(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return whether the actual class is among the three most probable ones, (N,)."""
    names, shares = class_shares(table)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
    return (names[order] == table["class"].to_numpy()[:, None]).any(axis=1)


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


def pool_cases(
    probabilities: NDArray[np.floating], cases: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probabilities of each case, float64 (G, C), from the mean of their logarithms.

    This is the logarithmic opinion pool (Genest and Zidek 1986, 10.1214/ss/1177013825): a picture
    that rules a class out weighs more than one that is unsure.

    Args:
        probabilities: of the pictures, (N, C).
        cases: the case of each picture, from 0 to G - 1, (N,).
    """
    # Where float32 has rounded to zero, the logarithm would rule a class out for good.
    logs = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
    sums = np.zeros((int(cases.max()) + 1, logs.shape[1]))
    np.add.at(sums, cases, logs)
    means = sums / np.bincount(cases)[:, None]
    shares = np.exp(means - means.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def measure_cases(table: pd.DataFrame, clusters: Clusters) -> dict[str, float]:
    """Return the number of cases and their accuracy; nothing where each is a single image.

    A case is all images of a class from one donor.

    Args:
        table: predictions of the test set, as from `prediction_table`.
        clusters: of its images.
    """
    cases = table.groupby([clusters.donors, table["class"].to_numpy()]).ngroup().to_numpy()
    _, first = np.unique(cases, return_index=True)
    if len(first) == len(table):
        return {}
    names, shares = class_shares(table)
    predicted = names[pool_cases(shares, cases).argmax(axis=1)]
    hits = predicted == table["class"].to_numpy()[first]
    # Without the antibody, since a case has several.
    bounds = share_interval(hits, Clusters(clusters.donors[first], clusters.classes[first]))
    values = {"case_accuracy": float(hits.mean()), "cases": len(first)}
    return values | {"case_accuracy_low": bounds.low, "case_accuracy_high": bounds.high}
