"""Images of training that the test set knows: copies of its pictures, and its donors."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import InputError
from stages.params.schema import Split


class Leaks(NamedTuple):
    """Which rows are shared, bool (N,) each, and how many copies' sets and groups they are of."""

    training: NDArray[np.bool_]
    test: NDArray[np.bool_]
    copies: int
    groups: int
    table: pd.DataFrame  # id, class, shared (copy or group), name, test_id; a row a training image

    def counts(self, *, dropped: bool) -> dict[str, int]:
        """Return what `metrics/split.json` holds."""
        images = int(self.training.sum())
        return {
            "images": images,
            "test_images": int(self.test.sum()),
            "copies": self.copies,
            "groups": self.groups,
            "dropped": images if dropped else 0,
        }


def find_leaks(index: pd.DataFrame, names: pd.Series, test: NDArray[np.bool_]) -> Leaks:
    """Find the images outside the test set whose picture or whose donor stands in it.

    Args:
        index: a row an image, with `id`, `class` and `copies`, the number of its set of copies.
        names: the donor, slide or cluster of each image.
        test: which rows are the test set.
    """
    by_copy, copies = _on_both_sides(index["copies"], test)
    by_name, groups = _on_both_sides(names, test)
    training, tested = (by_copy | by_name) & ~test, (by_copy | by_name) & test
    table = index.loc[training, ["id", "class"]].assign(
        shared=np.where(by_copy, "copy", "group")[training], name=names[training]
    )
    first_copy = index[test].groupby("copies")["id"].min()
    first_name = index[test].groupby(names[test])["id"].min()
    table["test_id"] = (
        index.loc[training, "copies"].map(first_copy).fillna(names[training].map(first_name))
    )
    return Leaks(training, tested, copies, groups, table.sort_values("id"))


def _on_both_sides(keys: pd.Series, test: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    shared = set(keys[test]) & set(keys[~test])
    return keys.isin(shared).to_numpy(bool), len(shared)


def check_leaks(leaks: Leaks, settings: Split) -> None:
    """Raise an `InputError` if `split.on_leak` is fail and an image is shared."""
    if settings.on_leak == "fail" and leaks.training.any():
        rows = leaks.table.head(3).itertuples()
        told = "; ".join(f"{row.id} ({row.shared}: {row.test_id})" for row in rows)
        raise InputError(
            "split.on_leak: expected no image in training that shares its picture or its donor "
            f"with the test set. Received: {int(leaks.training.sum())}, e.g. {told}. Take them "
            "out, or set split.on_leak to drop or report in params.yaml."
        )
