"""Each image's part (train, val or test), by whole groups, and what came out of it."""

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.files import write_json, write_table
from tissue.common.holdout import group_holdout, missing_classes
from tissue.common.names import SPLITS
from tissue.config.schema import Split
from tissue.data.index import QUALITY
from tissue.images.duplicates import clusters
from tissue.images.groups import assign_groups, check_leaks, find_leaks, name_groups
from tissue.images.quality import BLANK
from tissue.images.stored import StoredImages, write_shards

DROPPED = "dropped"
COLUMNS = [
    "id", "class", "label", "group", "sha256", "source", "donor", "slide", "antibody",
    "width", "height", *QUALITY,
]  # fmt: skip


class Division(NamedTuple):
    """The index with `copies`, `group`, `part` and `label`; dropped rows have that as part."""

    index: pd.DataFrame
    rule: str
    leaks: dict[str, int]
    leaked: pd.DataFrame

    @property
    def kept(self) -> pd.DataFrame:
        """The rows that are handed on."""
        return self.index[self.index["part"] != DROPPED]


def assign_splits(
    index: pd.DataFrame, pairs: NDArray[np.int64], settings: Split, *, seed: int, given: str = ""
) -> Division:
    """Give each image its group, part and label.

    A test set that the source gives stays as it is; otherwise one is taken. Validation is taken
    from the rest. Both are taken by whole groups and stratified by class.

    Args:
        index: a row an image, with `split` (train, test or empty), `class` and `blur`.
        pairs: near-duplicates as row numbers (P, 2).
        settings: the fractions, where groups come from, and what becomes of leaks.
        seed: of the choice.
        given: where the donors are from, if not from the source.

    Raises:
        InputError: if nothing is for training, no group can be taken, or a leak is to stop the run.
    """
    same = np.concatenate([pairs, _same_pixels(index["sha256"])])
    index = index.assign(copies=clusters(len(index), same), part=DROPPED)
    linked = clusters(len(index), same[_has_detail(index)[same].all(axis=1)])
    names, rule = name_groups(index, linked, given=given)
    test = (index["split"] == "test").to_numpy()
    leaks = find_leaks(index.assign(copies=linked), names, test)
    check_leaks(leaks, settings)
    drop = settings.on_leak == "drop"
    kept = ~leaks.training if drop else np.ones(len(index), bool)
    index["group"] = names
    index.loc[kept, "group"] = assign_groups(names[kept], linked[kept])
    index.loc[kept, "part"] = _parts(index[kept].reset_index(drop=True), test[kept], settings, seed)
    labels = {name: label for label, name in enumerate(sorted(index.loc[kept, "class"].unique()))}
    index["label"] = index["class"].map(labels)
    return Division(index, rule, leaks.counts(dropped=drop), leaks.table)


def _parts(
    index: pd.DataFrame, test: NDArray[np.bool_], settings: Split, seed: int
) -> NDArray[np.object_]:
    if test.all():
        raise InputError(
            f"split: expected training images. Received: {len(index)} images, all of them in test/."
            " Name the folder or archive that holds train/, too, in fetch.source."
        )
    if not test.any():
        test = group_holdout(index, settings.test_fraction, seed)
    rest = np.flatnonzero(~test)
    in_val = group_holdout(index.iloc[rest].reset_index(drop=True), settings.val_fraction, seed)
    part = np.where(test, "test", "train").astype(object)
    part[rest[in_val]] = "val"
    return part


def _has_detail(index: pd.DataFrame) -> NDArray[np.bool_]:
    # One white tile is like another, whoever the section is of.
    return (index["blur"] < 1).to_numpy()


def _same_pixels(digests: pd.Series) -> NDArray[np.int64]:
    # Blank images have nothing to compare but their digest.
    rows = [rows for rows in digests.groupby(digests).indices.values() if len(rows) > 1]
    return np.array([pair for same in rows for pair in pairwise(same)], np.int64).reshape(-1, 2)


def write_division(
    division: Division,
    images: StoredImages,
    crops: StoredImages | None,
    out: Path,
    *,
    shard_size: int,
) -> None:
    """Write arrays, tables and class names to the folder `out`.

    Args:
        division: which image belongs to which split.
        images: row i belongs to row i of `division.index`.
        crops: likewise, or None where none are kept.
        out: the folder.
        shard_size: images in one file of an array.
    """
    write_json(sorted(division.kept["class"].unique()), out / "classes.json")
    write_table(list_duplicates(division.index), out / "duplicates.csv")
    write_table(division.leaked, out / "leaks.csv")
    for name in SPLITS:
        rows = division.kept[division.kept["part"] == name]
        for suffix, array in (("", images), ("_crops", crops)):
            if array is not None:
                path = out / f"{name}{suffix}.npy"
                write_shards(path, array, rows.index.tolist(), shard_size=shard_size)
        write_table(rows[COLUMNS], out / f"{name}.csv")


def describe_division(division: Division, rejected: int) -> list[str]:
    """Return what a person is told: sizes and rule, missing classes, leaks."""
    kept, leaks = division.kept, division.leaks
    sizes = ", ".join(f"{(kept['part'] == name).sum()} {name}" for name in SPLITS)
    lines = [f"{sizes}; groups by {division.rule}; {rejected} rejected"]
    for name in SPLITS:
        if missing := missing_classes(kept, (kept["part"] == name).to_numpy()):
            lines.append(f"no {name} image of {', '.join(missing)}")
    if leaks["images"]:
        done = "dropped" if leaks["dropped"] else "kept (split.on_leak: report)"
        shared = "training images share a copy or a donor with the test set"
        lines.append(f"{leaks['images']} {shared}; {done}")
    return lines


def list_duplicates(index: pd.DataFrame) -> pd.DataFrame:
    """Return the images that have copies, set by set: `set,id,class,part,exact,relabelled`.

    `exact` says that another image of the set has the same pixels, `relabelled` that the set has
    several classes. Sets are numbered in the order of their first ids.
    """
    sets = index.groupby("copies")
    rows = index.assign(
        exact=index.groupby(["copies", "sha256"])["id"].transform("size") > 1,
        relabelled=sets["class"].transform("nunique") > 1,
        first=sets["id"].transform("min"),
    )[sets["id"].transform("size") > 1].sort_values(["first", "id"])
    rows["set"] = rows["first"].factorize()[0] + 1
    return rows[["set", "id", "class", "part", "exact", "relabelled"]]


def division_metrics(division: Division, rejected: int) -> dict[str, Any]:
    """Return what `metrics/split.json` holds, of what is handed on; `leaks` is what was found.

    Duplicates are counted as the images that repeat an earlier one, exactly or changed, and as the
    sets of copies that stand in several parts, or carry several classes.
    """
    index = division.kept
    of = {part: index[index["part"] == part] for part in SPLITS}
    exact = len(index) - index["sha256"].nunique()
    sources = index["source"].unique()
    return {
        "source": sources[0] if len(sources) == 1 else f"{len(sources)} archives or folders",
        "group_rule": division.rule,
        "images": {part: len(rows) for part, rows in of.items()},
        "images_per_class": {part: _balance(rows, index["class"]) for part, rows in of.items()},
        "classes": index["class"].nunique(),
        "classes_missing": {
            part: len(missing_classes(index, (index["part"] == part).to_numpy())) for part in SPLITS
        },
        "blank": int((index["tissue_fraction"] < BLANK).sum()),
        "duplicates": {
            "exact": exact,
            "near": len(index) - index["copies"].nunique() - exact,
            "across_splits": _sets_with_several(index[_has_detail(index)], "copies", "part"),
            "relabelled": _sets_with_several(index, "copies", "class"),
        },
        "leaks": division.leaks,
        "groups": {
            **{part: rows["group"].nunique() for part, rows in of.items()},
            "shared": _sets_with_several(index, "group", "part"),
            "largest": int(index["group"].value_counts().max()),
        },
        "rejected": rejected,
    }


def _sets_with_several(index: pd.DataFrame, key: str, column: str) -> int:
    return int((index.groupby(key)[column].nunique() > 1).sum())


def _balance(rows: pd.DataFrame, classes: pd.Series) -> dict[str, int]:
    counts = rows["class"].value_counts().reindex(classes.unique(), fill_value=0)
    return {"fewest": int(counts.min()), "most": int(counts.max())}
