"""The training images that look most like an image, as the features see it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from stages.errors.table import NEIGHBOUR_COLUMNS, NEIGHBOURS


def nearest_images(
    points: NDArray[np.float64], known: NDArray[np.float64], train: pd.DataFrame
) -> pd.DataFrame:
    """Return ids, classes and groups of the five nearest training images, nearest first.

    Euclidean, in the space of the projected features. Where training has fewer images than five,
    the last columns stay empty.

    Args:
        points: (N, K) of the images.
        known: (M, K) of the training images.
        train: their table, row i describes point i.
    """
    count = min(NEIGHBOURS, len(known))
    near = NearestNeighbors(n_neighbors=count).fit(known)
    # A model without errors has no image to look for, which scikit-learn does not take.
    rows = (
        near.kneighbors(points, return_distance=False)
        if len(points)
        else np.zeros((0, count), np.int64)
    )
    columns = {name: train[name].astype(str).to_numpy()[rows] for name in ("id", "class", "group")}
    table = pd.DataFrame("", index=range(len(points)), columns=list(NEIGHBOUR_COLUMNS))
    table.iloc[:, :count] = columns["id"]
    table["neighbour_classes"] = [" ".join(names) for names in columns["class"]]
    table["neighbour_groups"] = [" ".join(names) for names in columns["group"]]
    return table
