"""The split (train, val or test) of each image, by whole groups, and its tables and metrics."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.common.holdout import missing_classes
from tissue.common.names import CLUSTERS, POSITIONS, SPLITS, TILE, donor_status
from tissue.config.schema import Split
from tissue.data.index import QUALITY, unequal_classes
from tissue.images.checks import check_counts, check_leaks, check_training
from tissue.images.duplicates import (
    describe_joined,
    describe_linked,
    join_pairs,
    joining_pairs,
    list_duplicates,
)
from tissue.images.given_splits import choose_splits, leaks_of_given_sets
from tissue.images.groups import assign_groups, name_groups
from tissue.images.positions import describe_positions
from tissue.images.quality import BLANK
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
    links = same[_has_detail(index)[same].all(axis=1) & (settings.copies == "link")]
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


def _has_detail(index: pd.DataFrame) -> NDArray[np.bool_]:
    # White tiles are alike, even of different donors.
    return (index["blur"] < 1).to_numpy()


def _same_pixels(digests: pd.Series) -> NDArray[np.int64]:
    # Blank images have no key points, so only their digests can be compared.
    rows = [rows for rows in digests.groupby(digests).indices.values() if len(rows) > 1]
    return np.array([pair for same in rows for pair in pairwise(same)], np.int64).reshape(-1, 2)


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


def describe_division(division: Division, rejected: int, settings: Split) -> list[str]:
    """Return lines to print: sizes and rule, missing and unequal classes, leaks, blank images."""
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in division.splits.items())
    known = donor_status(division.rule) != "not known"
    rule = division.rule if known else f"{division.rule}, donors are not known"
    lines = [f"{sizes}; groups by {rule}; {rejected} rejected"]
    for name, missing in division.missing.items():
        if missing:
            lines.append(f"no {name} image of {', '.join(missing)}")
    classes = division.kept["class"].unique()
    if unequal := unequal_classes(_balance(division.splits["train"], classes)):
        lines.append(unequal)
    if leaking := division.leaks["images"]:
        outcome = "dropped" if division.leaks["dropped"] else "kept (split.on_leak: report)"
        held_out = "test or validation set" if division.has_given_val else "test set"
        shared = f"training images share a copy or a donor with the {held_out}"
        lines.append(f"{leaking} {shared}; {outcome}")
    if blank := _count_blank(division.kept):
        lines.append(f"{blank} images show nearly no tissue; `predict` would refuse them")
    if division.rule == POSITIONS:
        lines += describe_positions(division.kept, division.leaks["possible"], settings)
    if division.joined:
        lines.append(describe_joined(division.joined))
    return lines


def division_metrics(division: Division, rejected: int) -> dict[str, Any]:
    """Return `metrics/split.json`: counts of the rows that are kept, and the leaks that were found.

    Duplicates are counted as the images that repeat an earlier one, exactly or transformed, and as
    the sets of copies that are in several splits or classes.
    """
    index, splits = division.kept, division.splits
    exact = len(index) - index["sha256"].nunique()
    sources, classes = index["source"].unique(), index["class"].unique()
    return {
        "source": sources[0] if len(sources) == 1 else f"{len(sources)} archives or folders",
        "group_rule": division.rule,
        "donors": donor_status(division.rule),
        "images": {name: len(rows) for name, rows in splits.items()},
        "images_per_class": {name: _balance(rows, classes) for name, rows in splits.items()},
        "classes": len(classes),
        "classes_missing": {name: len(missing) for name, missing in division.missing.items()},
        "blank": _count_blank(index),
        "copies": division.copies,
        "duplicates": {
            "exact": exact,
            "near": len(index) - index["copies"].nunique() - exact,
            "across_splits": _sets_with_several(index[_has_detail(index)], "copies", "assigned"),
            "relabelled": _sets_with_several(index, "copies", "class"),
        },
        "leaks": division.leaks,
        "groups": {
            **{name: rows["group"].nunique() for name, rows in splits.items()},
            "joined_by_copies": len(division.joined),
            "shared": _sets_with_several(index, "group", "assigned"),
            "largest": int(index["group"].value_counts().max()),
        },
        "rejected": rejected,
    }


def _count_blank(index: pd.DataFrame) -> int:
    return int((index["tissue_fraction"] < BLANK).sum())


def _sets_with_several(index: pd.DataFrame, key: str, column: str) -> int:
    return int((index.groupby(key)[column].nunique() > 1).sum())


def _balance(rows: pd.DataFrame, classes: Iterable[str]) -> dict[str, int]:
    counts = rows["class"].value_counts().reindex(classes, fill_value=0)
    return {"fewest": int(counts.min()), "most": int(counts.max())}
