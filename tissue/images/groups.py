"""Which images belong together: of one donor, of one slide, or copies of one picture.

Images of one donor, and copies of one picture, are not independent: with one in training and the
other in the test, a score measures memory. So they form a group, and a group is never divided.
"""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tissue.common.errors import InputError
from tissue.common.names import CLUSTERS, slide_of
from tissue.config.schema import Split


def read_metadata(path: Path, ids: pd.Series) -> pd.Series:
    """Return the donor (or slide) of each image, from a CSV with the columns path and group.

    Raises:
        InputError: if the file or a column is missing, or an image has no group.
    """
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
    table["path"] = [unicodedata.normalize("NFC", place) for place in table["path"]]
    # Else one donor might stand in two parts.
    table["group"] = table["group"].str.strip().str.normalize("NFC")
    table = table.drop_duplicates(["path", "group"])
    twice = table.loc[table["path"].duplicated(), "path"]
    if len(twice):
        raise InputError(
            f"{path}: expected one group an image. Received: several for {twice.iloc[0]}. Keep one."
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


def add_known_groups(index: pd.DataFrame, settings: Split) -> tuple[pd.DataFrame, str]:
    """Return the index with the user's groups as donors, and where they are from, or nothing.

    Raises:
        InputError: if an image has no group in `split.metadata` or by `split.group_pattern`.
    """
    if settings.metadata is not None:
        donors = read_metadata(Path(settings.metadata), index["id"])
        return index.assign(donor=donors), "metadata"
    if settings.group_pattern is not None:
        donors = _by_pattern(index["id"], settings.group_pattern)
        return index.assign(donor=donors), "group_pattern"
    return index, ""


def name_groups(
    index: pd.DataFrame, clusters: NDArray[np.int64], *, given: str = ""
) -> tuple[pd.Series, str]:
    """Return the donor, slide or cluster of each image, and the rule that gave it.

    The rule is the first that applies: `given`, if the donors are the user's; `donor` and `slide`,
    where the source says one for every image; `slide in file name`, where all are named as the
    atlas names them; else `near-duplicate cluster`, named after its first id.

    Args:
        index: a row an image, with `id`, `donor` and `slide`, empty where unknown.
        clusters: number of the near-duplicate cluster of each image, int64 (N,).
        given: `metadata` or `group_pattern`, or empty.
    """
    if given:
        return index["donor"], given
    for rule in ("donor", "slide"):
        if rule in index and len(index) and (index[rule].fillna("") != "").all():
            return index[rule].astype(str), rule
    slides = index["id"].map(slide_of)
    if len(slides) and (slides != "").all():
        return slides, "slide in file name"
    return first_names(index["id"], clusters), CLUSTERS


def _by_pattern(ids: pd.Series, pattern: str) -> pd.Series:
    found = [re.search(pattern, id_) for id_ in ids]
    missed = [id_ for id_, match in zip(ids, found, strict=True) if not (match and match[1])]
    if missed:
        raise InputError(
            f"split.group_pattern: expected {pattern!r} to name the group of every id. Received: "
            f"nothing for {len(missed)}, e.g. {', '.join(missed[:3])}. Correct it in params.yaml."
        )
    return pd.Series([match[1] for match in found if match], ids.index)


def first_names(names: pd.Series, numbers: NDArray[np.int64]) -> pd.Series:
    """Return for each row the first, in order, of the names that share its number."""
    return names.groupby(numbers).transform("min")


def assign_groups(names: pd.Series, clusters: NDArray[np.int64]) -> pd.Series:
    """Return the group of each image: its donor, slide or cluster, joined through copies.

    Where a copy carries another donor's name, both donors become one group, since a division
    between them would put the same picture on both sides. A group is called by the first of its
    names, in order.
    """
    code, known = pd.factorize(names)
    size = len(known) + int(clusters.max(initial=0)) + 1
    ends = (code, clusters + len(known))
    links = coo_array((np.ones(len(code), np.int8), ends), (size, size))
    _, part = connected_components(links, directed=False)
    return first_names(names, part[code])


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
