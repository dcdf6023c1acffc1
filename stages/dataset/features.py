"""Cached features of images, one vector an image."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.index import read_array, read_index, rows_of


def mean_features(index: pd.DataFrame, part: str, embed: Path) -> NDArray[np.float32]:
    """Return the features float32 (N, D) of the images of a table, mean of their views.

    Args:
        index: the images, by `id`.
        part: train, val or test, where they are cached.
        embed: the folder that `embed` wrote.

    Raises:
        ValueError: if an image has no features.
    """
    rows = rows_of(index["id"], read_index(embed / f"{part}.csv"), what=f"{embed}/{part}")
    features = read_array(embed / f"{part}.npy")
    # Image by image: all views of all images together may be larger than the memory.
    return np.stack([np.asarray(features[row]).mean(axis=0) for row in rows])
