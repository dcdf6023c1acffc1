"""Test and validation sets that the source gives: kept, checked for leaks, and else taken."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.holdout import group_holdout
from tissue.common.names import POSITIONS
from tissue.config.schema import Split
from tissue.images.groups import find_leaks, on_both_sides


def leaks_of_given_sets(
    index: pd.DataFrame, names: NDArray[np.object_], rule: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return leaks as from `find_leaks`; a shared position is a possible one, not a fact.

    A validation set that the source gives is held to the same as a test set: leaks of its images in
    training are added to the table and the counts.
    """
    test, val = ((index["split"] == name).to_numpy() for name in ("test", "val"))
    by_position = rule == POSITIONS
    groups = None if by_position else names
    leaked, leaks = find_leaks(index, groups, test)
    if val.any():
        others = ~test & ~index.index.isin(leaked.index)
        of_rest = None if groups is None else groups[others]
        more, counts = find_leaks(index[others], of_rest, val[others])
        leaked = pd.concat([leaked, more]).sort_values("id")
        leaks = {name: number + counts[name] for name, number in leaks.items()}
    leaks["possible"] = 0
    if by_position:
        shared, _ = on_both_sides(names, test)
        leaks["possible"] = int((shared & ~test).sum()) - int(shared[leaked.index].sum())
    return leaked, leaks


def choose_splits(index: pd.DataFrame, settings: Split, seed: int) -> NDArray[np.object_]:
    """Return the split of each image: the given one, or one of whole groups.

    Args:
        index: one row per image, with `class`, `group` and `split`, the given one or empty.
        settings: the fractions are used.
        seed: of the choice.

    Raises:
        InputError: if there are no training images, or no group can be held out.
    """
    given = index["split"].to_numpy()
    test, val = given == "test", given == "val"
    if (test | val).all():
        raise InputError(
            f"split: expected training images. Received: {len(index)} images, all of them in test/"
            f"{' or val/' if val.any() else ''}. Name the folder or archive that holds train/, too,"
            " in fetch.source."
        )
    if not test.any():
        # Groups of a given validation set stay out of the test set.
        free = np.flatnonzero(~val & ~index["group"].isin(index["group"][val]))
        test[free[_hold_out(index, free, settings.test_fraction, seed)]] = True
    if not val.any():
        rest = np.flatnonzero(~test)
        val[rest[_hold_out(index, rest, settings.val_fraction, seed)]] = True
    return np.select([test, val], ["test", "val"], "train").astype(object)


def _hold_out(
    index: pd.DataFrame, rows: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.bool_]:
    if not len(rows):
        raise InputError(
            "split: expected training images of donors that are not in the given validation set, "
            "to take a test set from. Received: none. Give a test set, or take out the validation "
            "set."
        )
    return group_holdout(index.iloc[rows].reset_index(drop=True), fraction, seed)
