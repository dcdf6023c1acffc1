"""Rows, lines and the table of `predict`: up to three classes per picture, or why it is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tissue.common.errors import InputError
from tissue.images.quality import BLANK
from tissue.portable.running import Answer

RANKS = {"predicted": "confidence", "second": "second_confidence", "third": "third_confidence"}
COLUMNS = ["id", *(column for pair in RANKS.items() for column in pair), "distance", "refused"]


def answer_row(name: str, answer: Answer, classes: Sequence[str]) -> dict[str, Any]:
    """Return the row of a picture: its most probable classes, or why it is refused."""
    distance = answer.distance or 0.0
    row: dict[str, Any] = {"id": name, "distance": distance, "refused": ""}
    if answer.tissue < BLANK:
        share = f"{answer.tissue:.1%} of the picture, {BLANK:.0%} expected"
        row["refused"] = f"nearly no tissue: {share}"
    elif distance > 1:
        row["refused"] = f"unlike the training images: distance {distance:.2f}, at most 1 is usual"
    else:
        order = np.argsort(-answer.probabilities, kind="stable")
        for (rank, confidence), label in zip(RANKS.items(), order, strict=False):
            row |= {rank: classes[label], confidence: float(answer.probabilities[label])}
    return row


def answer_line(row: dict[str, Any]) -> str:
    """Return the row of one picture as a line to print."""
    if row["refused"]:
        return f"{row['id']}: refused: {row['refused']}"
    ranked = (f"{row[rank]} {row[share]:.1%}" for rank, share in RANKS.items() if rank in row)
    return f"{row['id']}: {', '.join(ranked)}"


def answer_json(row: dict[str, Any]) -> str:
    """Return the row of one picture as JSON, without what is unknown."""
    return json.dumps({key: value for key, value in row.items() if value != ""})


def check_answers(path: Path, *, append: bool) -> None:
    """Raise an `InputError` if answers cannot be written to a file, or would replace something."""
    if path.suffix.lower() != ".csv":
        raise InputError(
            f"--output: expected a name that ends in .csv. Received: {path}. Give another name, "
            f"such as {path.with_name('predictions.csv')}."
        )
    if not path.exists():
        return
    if not append:
        raise InputError(
            f"--output: expected the name of a new file. Received: {path}, which exists. Give "
            "another name, or --append to add to it."
        )
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    if first.split(",") != COLUMNS:
        raise InputError(
            f"--append: expected a table that predict wrote, with the columns {','.join(COLUMNS)}. "
            f"Received: {path}, which begins with {first[:80]!r}. Give another name."
        )


def append_answers(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Add answers to a CSV, with a header if it is new; the classes of a refused one stay empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(path, mode="a", header=new, index=False, float_format="%.6g", lineterminator="\n")
