"""Each image's part (train, val or test), by whole groups, and what came out of it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import InputError
from stages.dataset.index import PARTS
from stages.dataset.splitting import assign_groups, missing_classes, take_out
from stages.images.duplicates import clusters
from stages.params.schema import Split


def divide(
    index: pd.DataFrame, pairs: NDArray[np.int64], settings: Split, seed: int
) -> tuple[pd.DataFrame, str]:
    """Give each image its group, part and label.

    A test set that the source gives stays as it is; otherwise one is taken. Validation is taken
    from the rest. Both are taken by whole groups and stratified by class.

    Args:
        index: a row an image, with `split` (train, test or empty) and `class`.
        pairs: near-duplicates as row numbers (P, 2).
        settings: the fractions.
        seed: of the choice.

    Returns:
        The index with `group`, `part` (train, val or test) and `label`, and the name of the rule
        that gave the groups.
    """
    index["copies"] = clusters(len(index), np.concatenate([pairs, _same_pixels(index["sha256"])]))
    index["group"], rule = assign_groups(index, index["copies"].to_numpy())
    test = (index["split"] == "test").to_numpy()
    if not test.any():
        test = take_out(index, settings.test_fraction, seed)
    rest = np.flatnonzero(~test)
    in_val = take_out(index.iloc[rest].reset_index(drop=True), settings.val_fraction, seed)
    index["part"] = np.where(test, "test", "train")
    index.loc[rest[in_val], "part"] = "val"
    labels = {name: label for label, name in enumerate(sorted(index["class"].unique()))}
    return index.assign(label=index["class"].map(labels)), rule


def _same_pixels(digests: pd.Series) -> NDArray[np.int64]:
    # Blank images have nothing to compare but their digest.
    rows = [rows for rows in digests.groupby(digests).indices.values() if len(rows) > 1]
    return np.array([pair for same in rows for pair in pairwise(same)], np.int64).reshape(-1, 2)


def read_donors(metadata: Path, ids: pd.Series) -> pd.Series:
    """Return the donor (or slide) of each image, from a CSV with the columns path and group.

    Raises:
        InputError: if the file or a column is missing, or an image has no group.
    """
    if not metadata.is_file():
        raise InputError(
            f"split.metadata: expected a CSV file. Received: {metadata}, which does not exist."
        )
    table = pd.read_csv(metadata, dtype=str, keep_default_na=False)
    if not {"path", "group"} <= set(table.columns):
        raise InputError(
            f"{metadata}: expected the columns path and group. Received: {', '.join(table.columns)}"
        )
    groups = dict(zip(table["path"], table["group"], strict=True))
    missing = [id_ for id_ in ids if not groups.get(id_)]
    if missing:
        raise InputError(
            f"{metadata}: expected a group for every image. Received: none for {len(missing)}, "
            f"e.g. {', '.join(missing[:3])}. Paths are ids: [train|test]/<class>/<image>."
        )
    return ids.map(groups)


def summarise(index: pd.DataFrame, rule: str, rejected: int) -> dict[str, Any]:
    """Return what `metrics/split.json` holds, of the index that `divide` returned.

    Duplicates are counted as the images that repeat an earlier one, exactly or changed, and as the
    sets of copies that stand in several parts.
    """
    groups = {part: set(index.loc[index["part"] == part, "group"]) for part in PARTS}
    exact = len(index) - index["sha256"].nunique()
    sources = index["source"].unique()
    return {
        "source": sources[0] if len(sources) == 1 else f"{len(sources)} archives or folders",
        "group_rule": rule,
        "images": {part: int((index["part"] == part).sum()) for part in PARTS},
        "classes": index["class"].nunique(),
        "classes_missing": {
            part: len(missing_classes(index, (index["part"] == part).to_numpy())) for part in PARTS
        },
        "duplicates": {
            "exact": exact,
            "near": len(index) - index["copies"].nunique() - exact,
            "across_splits": int((index.groupby("copies")["part"].nunique() > 1).sum()),
        },
        "groups": {
            **{part: len(names) for part, names in groups.items()},
            "shared": int((index.groupby("group")["part"].nunique() > 1).sum()),
        },
        "rejected": rejected,
    }
