"""What is said of copies: which there are, and which of them join groups."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def list_duplicates(index: pd.DataFrame) -> pd.DataFrame:
    """Return the images that have copies, set by set: `set,id,class,part,exact,relabelled`.

    `part` is the split, `exact` says that another image of the set has the same pixels, and
    `relabelled` that the set has several classes. Sets are numbered by their first ids.
    """
    sets = index.groupby("copies")
    rows = index.assign(
        part=index["assigned"],
        exact=index.groupby(["copies", "sha256"])["id"].transform("size") > 1,
        relabelled=sets["class"].transform("nunique") > 1,
        first=sets["id"].transform("min"),
    )[sets["id"].transform("size") > 1].sort_values(["first", "id"])
    rows["set"] = rows["first"].factorize()[0] + 1
    return rows[["set", "id", "class", "part", "exact", "relabelled"]]


def joining_pairs(ids: pd.Series, names: pd.Series, links: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the copies (P, 2) whose donors, slides or clusters differ, in words, in order."""
    differ = links[(names.to_numpy()[links[:, 0]] != names.to_numpy()[links[:, 1]])]
    return tuple(
        " = ".join(f"{ids[row]} ({names[row]})" for row in pair) for pair in sorted(differ.tolist())
    )


def describe_joined(joined: Sequence[str]) -> str:
    """Return which copies joined groups, and how to undo that; nothing if none did."""
    if not joined:
        return ""
    examples = "; ".join(joined[:3])
    return (
        f"Groups were joined by {len(joined)} pairs of copies, e.g. {examples}. All copies are in "
        "duplicates.csv; if these are none, set split.copies to report in params.yaml."
    )


def describe_linked(ids: pd.Series, links: NDArray[np.int64]) -> str:
    """Return which copies (P, 2) made the groups, and how to undo that; nothing without any."""
    if not len(links):
        return ""
    first, second = sorted(ids[links[0]])
    return (
        f"The groups are made of {len(links)} pairs of copies, e.g. {first} = {second}; if these "
        "are none, set split.copies to report in params.yaml."
    )
