"""One answer for several pictures of a case, such as those of one donor, and its accuracy."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.metrics.intervals import Clusters, share_interval
from tissue.metrics.predictions import class_shares


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
