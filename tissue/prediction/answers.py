"""Rows, lines and the table of `predict`: up to three classes per picture, or why it is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.images.quality import BLANK
from tissue.prediction.inputs import Picture

RANKS = {"predicted": "confidence", "second": "second_confidence", "third": "third_confidence"}
COLUMNS = ["id", *(column for pair in RANKS.items() for column in pair), "distance", "refused"]


def answer_row(
    picture: Picture, probabilities: NDArray[np.float32], classes: Sequence[str], *, distance: float
) -> dict[str, Any]:
    """Return the row of a picture: its most probable classes, or why it is refused.

    `probabilities` are float32 (classes,), `distance` is in units of its limit.
    """
    row: dict[str, Any] = {"id": picture.id, "distance": distance, "refused": ""}
    if picture.tissue < BLANK:
        share = f"{picture.tissue:.1%} of the picture, {BLANK:.0%} expected"
        row["refused"] = f"nearly no tissue: {share}"
    elif distance > 1:
        row["refused"] = f"unlike the training images: distance {distance:.2f}, at most 1 is usual"
    else:
        order = np.argsort(-probabilities, kind="stable")
        for (rank, confidence), label in zip(RANKS.items(), order, strict=False):
            row |= {rank: classes[label], confidence: float(probabilities[label])}
    return row


def answer_line(row: dict[str, Any]) -> str:
    """Return the row of one picture as a line to print."""
    if row["refused"]:
        return f"{row['id']}: refused: {row['refused']}"
    ranked = (f"{row[rank]} {row[share]:.1%}" for rank, share in RANKS.items() if rank in row)
    return f"{row['id']}: {', '.join(ranked)}"


def answers_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows as a table; the classes of a refused picture stay empty."""
    return pd.DataFrame(rows, columns=COLUMNS)
