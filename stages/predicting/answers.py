"""What `predict` answers about a picture: three classes, or that it is refused and why."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.images.quality import BLANK

RANKS = ("predicted", "second", "third")
CONFIDENCES = ("confidence", "second_confidence", "third_confidence")
COLUMNS = [
    "id",
    *(name for pair in zip(RANKS, CONFIDENCES, strict=True) for name in pair),
    "distance",
    "refused",
]


def reason_to_refuse(tissue: float, distance: float) -> str:
    """Return why a picture is not answered, or nothing.

    Args:
        tissue: share of its pixels that show tissue.
        distance: from the training images, in units of the limit.
    """
    if tissue < BLANK:
        return f"nearly no tissue: {tissue:.1%} of the picture, {BLANK:.0%} expected"
    if distance > 1:
        return f"unlike the training images: distance {distance:.2f}, at most 1 is usual"
    return ""


def answer(
    name: str,
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    *,
    distance: float,
    refused: str,
) -> dict[str, Any]:
    """Return the row of a picture: its most probable classes, unless it is refused."""
    row: dict[str, Any] = {"id": name, "distance": distance, "refused": refused}
    if not refused:
        order = np.argsort(-probabilities, kind="stable")[: len(RANKS)]
        for rank, confidence, label in zip(RANKS, CONFIDENCES, order, strict=False):
            row |= {rank: classes[label], confidence: float(probabilities[label])}
    return row


def sentence(row: dict[str, Any]) -> str:
    """Return the row of a picture as a line to print."""
    if row["refused"]:
        return f"{row['id']}: refused: {row['refused']}"
    ranked = zip(RANKS, CONFIDENCES, strict=True)
    told = (f"{row[rank]} {row[share]:.1%}" for rank, share in ranked if rank in row)
    return f"{row['id']}: {', '.join(told)}"


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows as a table; what a refused picture lacks stays empty."""
    return pd.DataFrame(rows, columns=COLUMNS)
