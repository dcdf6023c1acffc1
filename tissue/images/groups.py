"""Which images belong together: those of one donor, and copies of one picture.

Such images are not independent: with one in training and another in the test set, a score measures
memory. They form a group, and a group is never divided.
"""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.names import (
    CLUSTERS,
    DONORS,
    METADATA,
    PATTERN,
    POSITIONS,
    SINGLES,
    SLIDES,
    one_line,
    position_of,
)
from tissue.config.schema import Split
from tissue.images.duplicates import join_pairs


def add_known_groups(index: pd.DataFrame, settings: Split) -> pd.DataFrame:
    """Return the index with the groups that the user gives, if any, as donors.

    Raises:
        InputError: if an image has no group in `split.metadata` or by `split.group_pattern`.
    """
    if settings.metadata is not None:
        return index.assign(donor=_by_table(index["id"], Path(settings.metadata)))
    if settings.group_pattern is not None:
        return index.assign(donor=_by_pattern(index["id"], settings.group_pattern))
    return index


def _by_table(ids: pd.Series, path: Path) -> pd.Series:
    table = _read_table(path)
    repeated = table.loc[table["path"].duplicated(), "path"]
    if len(repeated):
        raise InputError(
            f"{path}: expected one group per image. Received: several for {repeated.iloc[0]}. "
            "Keep one."
        )
    groups = dict(zip(table["path"], table["group"], strict=True))
    missing = [id_ for id_ in ids if not groups.get(id_)]
    if missing:
        others = sorted(set(groups) - set(ids))
        has = f", but {others[0]!r}, which is no image" if others else ""
        raise InputError(
            f"{path}: expected a group for every image. Received: none for {len(missing)}, "
            f"e.g. {', '.join(missing[:3])}{has}. Paths are ids: [train|test]/<class>/<image>."
        )
    return ids.map(groups)


def _read_table(path: Path) -> pd.DataFrame:
    """Return the columns path and group of a CSV file, without repeated rows."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        if not path.is_absolute() and not path.exists():
            what += f" in {Path.cwd()}. Experiments that run elsewhere need an absolute path"
        raise InputError(f"split.metadata: expected a CSV file. Received: {path}, which {what}.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: expected a CSV file in UTF-8. Received: {error}. Repair it."
        ) from None
    if not {"path", "group"} <= set(table.columns):
        raise InputError(
            f"{path}: expected the columns path and group, separated by a comma. Received: "
            f"{', '.join(table.columns)}. Rename or separate them."
        )
    # Spaces and the form of Unicode must not make two donors of one.
    table = table[["path", "group"]].assign(group=table["group"].str.strip().map(one_line))
    return table.map(lambda text: unicodedata.normalize("NFC", text)).drop_duplicates()


def _by_pattern(ids: pd.Series, pattern: str) -> pd.Series:
    found = [re.search(pattern, id_) for id_ in ids]
    missed = [id_ for id_, match in zip(ids, found, strict=True) if not (match and match[1])]
    if missed:
        raise InputError(
            f"split.group_pattern: expected {pattern!r} to name the group of every id. Received: "
            f"nothing for {len(missed)}, e.g. {', '.join(missed[:3])}. Correct it in params.yaml."
        )
    return pd.Series([match[1] for match in found if match], ids.index)


def name_groups(
    index: pd.DataFrame, clusters: NDArray[np.int64], settings: Split
) -> tuple[pd.Series, str]:
    """Return the group of each image, and the rule that gave it.

    The rule is the first that applies: `metadata` or `group_pattern`, where the user gives donors;
    `donor`, where the source names one for every image; `slide`, where images are tiles of whole
    slides, and other images are grouped by donor or copies; `array position in file name`, where
    most files are named as in the atlas, and copies stay together in the others; else
    `near-duplicate cluster`, named after its first id, or `single image`, if `split.copies` links
    none.

    Slides of arrays are no groups: a slide of the atlas holds cores of all organs, and the donors
    of its block come back on every slide cut from it. A position of a class holds one donor per
    block.
    """
    for rule in (METADATA, PATTERN):
        if getattr(settings, rule) is not None:
            return index["donor"], rule
    if (index["donor"] != "").all():
        return index["donor"], DONORS
    positions, copies = index["id"].map(position_of), _first_names(index["id"], clusters)
    if (is_tile := index["x"] != "").any():
        slides = index["slide"].where(is_tile, copies)
        return index["donor"].where(index["donor"] != "", slides), SLIDES
    if (positions != "").mean() > 0.5:
        return (index["class"] + " " + positions).where(positions != "", copies), POSITIONS
    return copies, CLUSTERS if settings.copies == "link" else SINGLES


def _first_names(names: pd.Series, numbers: NDArray[np.int64]) -> pd.Series:
    """Return for each row the first, in order, of the names that share its number."""
    return names.groupby(numbers).transform("min")


def assign_groups(names: pd.Series, clusters: NDArray[np.int64]) -> pd.Series:
    """Return the group of each image: its donor, position or cluster, joined through copies.

    Where copies are of two donors, both become one group, since a division between them would put
    the same picture on both sides. A group has the first of its names, in order.
    """
    code, known = pd.factorize(names)
    links = np.stack([code, clusters + len(known)], axis=1)
    return _first_names(names, join_pairs(int(links.max()) + 1, links)[code])


def find_leaks(
    index: pd.DataFrame, names: pd.Series | None, test: NDArray[np.bool_]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Find the images outside the test set whose picture or donor is also in the test set.

    Args:
        index: one row per image, with `id`, `class` and `copies`, the number of its set of copies.
        names: the donor or cluster of each image; None if images of one group only may share a
            donor, so that leaks through groups are no facts.
        test: which rows are the test set.

    Returns:
        The rows of `index` that leak, with the columns id, class, shared (copy or group), name, and
        test_id, an image that shares it; and how many images, test images, sets of copies and
        groups leak.
    """
    by_copy, copies = on_both_sides(index["copies"], test)
    if names is None:
        names = pd.Series(np.where(test, "test", ""), index.index)  # shared by nobody
    by_name, groups = on_both_sides(names, test)
    shared = by_copy | by_name
    first_copy = index[test].groupby("copies")["id"].min()
    first_name = index[test].groupby(names[test])["id"].min()
    table = index[["id", "class"]].assign(
        shared=np.where(by_copy, "copy", "group"),
        name=names,
        test_id=index["copies"].map(first_copy).fillna(names.map(first_name)),
    )[shared & ~test]
    counts = {
        "images": len(table),
        "test_images": int((shared & test).sum()),
        "copies": copies,
        "groups": groups,
    }
    return table.sort_values("id"), counts


def on_both_sides(keys: pd.Series, test: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Return which rows have a key (N,) that is in the test set and outside, and how many keys."""
    shared = set(keys[test]) & set(keys[~test])
    return keys.isin(shared).to_numpy(bool), len(shared)
