"""The split (train, val or test) of each image, by whole groups, and its tables and metrics."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.common.holdout import group_holdout, missing_classes
from tissue.common.names import CLUSTERS, POSITIONS, SPLITS, TILE
from tissue.config.schema import Split
from tissue.data.index import QUALITY
from tissue.images.checks import check_counts, check_leaks, check_training
from tissue.images.duplicates import (
    describe_joined,
    describe_linked,
    join_pairs,
    joining_pairs,
    list_duplicates,
)
from tissue.images.groups import assign_groups, find_leaks, name_groups, on_both_sides
from tissue.images.stored import StoredImages, StoredRows, write_shards

DROPPED = "dropped"
COLUMNS = [
    "id", "class", "label", "group", "sha256", "source", "donor", "slide", "antibody",
    *TILE, "width", "height", *QUALITY,
]  # fmt: skip


class Division(NamedTuple):
    """The index with `copies` (number of a set of copies), `group`, `label` and `assigned`.

    The latter is the name of a split, or `dropped`.
    """

    index: pd.DataFrame
    rule: str  # that gives the groups
    # The counts of `find_leaks`; how many images were dropped; and `possible`, the other training
    # images that may share a donor with the test set, since their array position is in it
    leaks: dict[str, int]
    leaked: pd.DataFrame  # the table of `find_leaks`
    copies: str = "link"  # what was done about copies, as in `split.copies`
    joined: tuple[str, ...] = ()  # pairs of copies that joined two donors, in words

    @property
    def kept(self) -> pd.DataFrame:
        """The rows that are not dropped."""
        return self.index[self.index["assigned"] != DROPPED]

    @property
    def has_given_val(self) -> bool:
        """Whether the source gives the validation set."""
        return bool((self.index["split"] == "val").any())

    @property
    def splits(self) -> dict[str, pd.DataFrame]:
        """The rows of each split."""
        return {name: self.index[self.index["assigned"] == name] for name in SPLITS}

    @property
    def missing(self) -> dict[str, list[str]]:
        """The names of the classes that have no image in each split."""
        kept = self.kept
        return {
            name: missing_classes(kept, (kept["assigned"] == name).to_numpy()) for name in SPLITS
        }


def assign_splits(
    index: pd.DataFrame, pairs: NDArray[np.int64], settings: Split, *, seed: int
) -> Division:
    """Assign each image to a group and a split.

    A test set that the source gives stays as it is; otherwise one is taken. So does validation,
    which is taken from the rest. Both are taken by whole groups and stratified by class.

    Args:
        index: one row per usable image; `split` is train, val, test or empty.
        pairs: near-duplicates as row numbers (P, 2).
        settings: fractions, groups, and what is done about leaks.
        seed: of the choice.

    Raises:
        InputError: if a class has too few images, no group can be taken, or a leak is forbidden.
    """
    same = np.concatenate([pairs, _same_pixels(index["sha256"])])
    index = index.assign(copies=join_pairs(len(index), same), assigned=DROPPED)
    links = same[has_detail(index)[same].all(axis=1) & (settings.copies == "link")]
    linked = join_pairs(len(index), links)
    names, rule = name_groups(index, linked, settings)
    leaked, leaks = leaks_of_given_sets(index.assign(copies=linked), names, rule)
    check_leaks(leaked, settings)
    kept = ~index.index.isin(leaked.index) | (settings.on_leak != "drop")
    index["group"] = names
    index.loc[kept, "group"] = assign_groups(names[kept], linked[kept])
    joined = joining_pairs(index["id"], names, links[kept[links].all(axis=1)])
    try:
        chosen = choose_splits(index[kept].reset_index(drop=True), settings, seed)
    except InputError as error:
        linked_by = rule == CLUSTERS and describe_linked(index["id"], links)
        raise InputError(f"{error} {describe_joined(joined) or linked_by or ''}".rstrip()) from None
    index.loc[kept, "assigned"] = chosen
    index["label"], labels = pd.factorize(index["class"], sort=True)
    leaks["dropped"] = int((~kept).sum())
    division = Division(index, rule, leaks, leaked, settings.copies, joined)
    check_counts(division.kept, settings.min_per_class, labels)
    check_training(division.missing["train"])
    return division


def has_detail(index: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which images (N,) are more than white: white tiles of different donors are alike."""
    return (index["blur"] < 1).to_numpy()


def _same_pixels(digests: pd.Series) -> NDArray[np.int64]:
    # Blank images have no key points, so only their digests can be compared.
    rows = [rows for rows in digests.groupby(digests).indices.values() if len(rows) > 1]
    return np.array([pair for same in rows for pair in pairwise(same)], np.int64).reshape(-1, 2)


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


def write_division(
    division: Division, stored: StoredRows, usable: NDArray[np.int64], *, out: Path, settings: Split
) -> None:
    """Write arrays, tables and class names.

    Args:
        division: which image belongs to which split.
        stored: what was read of all images.
        usable: row in `stored` of each row of `division.index`.
        out: the folder.
        settings: whether there are crops, and how many images one file of an array holds.
    """
    write_json(sorted(division.kept["class"].unique()), out / "classes.json")
    write_table(list_duplicates(division.index), out / "duplicates.csv")
    write_table(division.leaked, out / "leaks.csv")
    fields = {"": "image", "_crops": "crops"} if settings.crops.count else {"": "image"}
    for name, rows in division.splits.items():
        write_table(rows[COLUMNS], out / f"{name}.csv")
        for suffix, field in fields.items():
            images = StoredImages(stored, usable[rows.index], field=field)
            write_shards(out / f"{name}{suffix}.npy", images, shard_size=settings.shard_size)
