"""Some images of many, so that work and memory do not grow with the set."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def share_of_each(index: pd.DataFrame, by: list[str], *, most: int, seed: int) -> NDArray[np.int64]:
    """Return about `most` row numbers, sorted, drawn so that each kind of row keeps its share.

    Args:
        index: a row an image; all of them are returned where they are not more.
        by: the columns that say of which kind a row is; of each, one is returned at least.
        most: how many.
        seed: of the draw.
    """
    if len(index) <= most:
        return np.arange(len(index))
    rng = np.random.default_rng(seed)
    share = most / len(index)
    kept = [
        rng.permutation(rows)[: max(1, int(share * len(rows)))]
        for _, rows in sorted(index.groupby(by).indices.items())
    ]
    return np.sort(np.concatenate(kept))
