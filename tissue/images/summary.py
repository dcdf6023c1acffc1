"""What `split` says of a division: the lines that it prints, and `metrics/split.json`."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from tissue.common.names import POSITIONS, donor_status, numbered, position_of
from tissue.config.schema import Split
from tissue.data.index import unequal_classes
from tissue.images.division import Division, has_detail
from tissue.images.duplicates import describe_joined
from tissue.images.quality import BLANK

FEW_GROUPS = 10  # in the test set: an interval by group then spans tens of points
NOTICED = 0.05  # difference of a share from the one that was asked for


def describe_division(division: Division, rejected: int, settings: Split) -> list[str]:
    """Return lines to print: sizes and rule, missing and unequal classes, leaks, blank images."""
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in division.splits.items())
    known = donor_status(division.rule) != "not known"
    rule = division.rule if known else f"{division.rule}, donors are not known"
    groups = ", ".join(str(rows["group"].nunique()) for rows in division.splits.values())
    why = ": data/split/rejected.csv says why" if rejected else ""
    lines = [f"{sizes}; in {groups} groups by {rule}; {rejected} rejected{why}"]
    if (tested := division.splits["test"]["group"].nunique()) < FEW_GROUPS:
        lines.append(
            f"the test set has {numbered(tested, 'group')}, so its accuracy will be uncertain; "
            "more groups help, more images of the same ones hardly do"
        )
    for name, missing in division.missing.items():
        if missing:
            lines.append(f"no {name} image of {', '.join(missing)}")
    classes = division.kept["class"].unique()
    if unequal := unequal_classes(_balance(division.splits["train"], classes)):
        lines.append(unequal)
    if leaking := division.leaks["images"]:
        outcome = "dropped" if division.leaks["dropped"] else "kept (split.on_leak: report)"
        held_out = "test or validation set" if division.has_given_val else "test set"
        shared = f"{'shares' if leaking == 1 else 'share'} a copy or a donor with the {held_out}"
        lines.append(f"{numbered(leaking, 'training image')} {shared}; {outcome}")
    if blank := _count_blank(division.kept):
        verb, them = ("shows", "it") if blank == 1 else ("show", "them")
        lines.append(
            f"{numbered(blank, 'image')} {verb} nearly no tissue; `predict` would refuse {them}"
        )
    if division.rule == POSITIONS:
        lines += _describe_positions(division.kept, division.leaks["possible"], settings)
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
            "across_splits": _sets_with_several(index[has_detail(index)], "copies", "assigned"),
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


def _describe_positions(index: pd.DataFrame, possible: int, settings: Split) -> list[str]:
    """Return lines to print: the rule, what it does to the sizes of the splits, and the way out.

    Args:
        index: the images that are kept, with `id`, `class`, `group`, `split` (test if the source
            says so) and `assigned`, the split they are in.
        possible: training images that may share a donor with the test set.
        settings: the shares that were asked for.
    """
    lines = [
        "images of a class at one array position stay together: they may be of several donors, but "
        "no donor is divided"
    ]
    if other := int((index["id"].map(position_of) == "").sum()):
        lines.append(f"{other} images have no position in their name; of these, only copies do")
    if changed := _changed_sizes(index, settings):
        fewest = index.groupby("class")["group"].nunique().min()
        lines.append(f"with only {fewest} groups in a class, {', '.join(changed)}")
    if possible:
        lines.append(f"up to {possible} training images may share a donor with the test set")
    return [
        *lines,
        "to divide by donor, ask the atlas for them: `python -m tissue donors <folder or archive>` "
        "writes donors.csv for split.metadata",
    ]


def _changed_sizes(index: pd.DataFrame, settings: Split) -> list[str]:
    """Return the shares that differ from those asked for, in words, and that of training."""
    sizes = index["assigned"].value_counts()
    train, val = sizes["train"], sizes["val"]
    shares = [("validation", "the training images", val / (train + val), settings.val_fraction)]
    if not (index["split"] == "test").any():
        share = sizes["test"] / len(index)
        shares.insert(0, ("test", "all images", share, settings.test_fraction))
    changed = [
        f"{name} takes {share:.0%} of {whole} instead of {wanted:.0%}"
        for name, whole, share, wanted in shares
        if abs(share - wanted) > NOTICED
    ]
    return [*changed, f"training keeps {train} images"] if changed else []


def _count_blank(index: pd.DataFrame) -> int:
    return int((index["tissue_fraction"] < BLANK).sum())


def _sets_with_several(index: pd.DataFrame, key: str, column: str) -> int:
    return int((index.groupby(key)[column].nunique() > 1).sum())


def _balance(rows: pd.DataFrame, classes: Iterable[str]) -> dict[str, int]:
    counts = rows["class"].value_counts().reindex(classes, fill_value=0)
    return {"fewest": int(counts.min()), "most": int(counts.max())}
