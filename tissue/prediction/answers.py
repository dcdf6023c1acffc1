"""Rows, lines and the table of `predict`: up to three classes per picture, or why it is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.images.quality import BLANK
from tissue.images.scales import SAME
from tissue.portable.running import Answer

RANKS = {"predicted": "confidence", "second": "second_confidence", "third": "third_confidence"}
# `pictures` is the number that the answer to a case rests on.
COLUMNS = [
    "id", "pictures", *(column for pair in RANKS.items() for column in pair), "distance", "refused",
    "warning",
]  # fmt: skip


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
        row |= ranked(answer.probabilities, classes)
    return row


def ranked(probabilities: NDArray[np.floating], classes: Sequence[str]) -> dict[str, Any]:
    """Return the most probable classes and their probabilities, of those of all classes (C,)."""
    order = np.argsort(-probabilities, kind="stable")
    return {
        key: value
        for (rank, confidence), label in zip(RANKS.items(), order, strict=False)
        for key, value in ((rank, classes[label]), (confidence, float(probabilities[label])))
    }


def scale_warning(field: float | None, trained: Sequence[float] | None) -> str:
    """Return that a picture is not of the scale of training; nothing where that is not known.

    Args:
        field: micrometres along the longer side of the picture.
        trained: the fewest and the most of the training images.
    """
    if field is None or trained is None:
        return ""
    fewest, most = trained
    shown = f"shows {field:,.0f} micrometres, training images {fewest:,.0f} to {most:,.0f}"
    if field * SAME < fewest:
        return f"{shown}: everything looks {fewest / field:.1f} times as large"
    if field > SAME * most:
        return f"{shown}: everything looks {field / most:.1f} times as small"
    return ""


def case_row(name: str, rows: Sequence[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a case, of the rows of its pictures and the `answer` of all that count.

    Refused pictures do not count; if all are refused, `answer` is empty.
    """
    refused = [row for row in rows if row["refused"]]
    warned = [row for row in rows if row.get("warning")]
    row = {"id": name, "pictures": len(rows) - len(refused), "refused": "", **answer}
    if not answer:
        of = f"all {len(rows)} pictures, e.g. " if len(rows) > 1 else ""
        row["refused"] = f"{of}{refused[0]['id']}: {refused[0]['refused']}"
    if distances := [row["distance"] for row in rows if "distance" in row]:
        row["distance"] = float(np.mean(distances))
    warnings = []
    if refused and answer:
        warnings.append(
            f"{len(refused)} of {len(rows)} pictures refused, e.g. {refused[0]['id']}: "
            f"{refused[0]['refused']}"
        )
    if warned:
        warnings.append(
            f"{len(warned)} of {len(rows)} pictures of another scale, e.g. {warned[0]['id']} "
            f"{warned[0]['warning']}"
        )
    row["warning"] = "; ".join(warnings)
    return row


def answer_line(row: dict[str, Any]) -> str:
    """Return the row of one picture or case as a line to print."""
    of = ""
    if "pictures" in row:
        of = f" ({row['pictures']} picture{'' if row['pictures'] == 1 else 's'})"
    return f"{row['id']}{of}: {answer_text(row)}"


def answer_text(row: dict[str, Any]) -> str:
    """Return what is answered: the classes, or why it is refused, and a warning if there is one."""
    warning = f"; warning: {row['warning']}" if row.get("warning") else ""
    if row["refused"]:
        return f"refused: {row['refused']}{warning}"
    ranked = (f"{row[rank]} {row[share]:.1%}" for rank, share in RANKS.items() if rank in row)
    return f"{', '.join(ranked)}{warning}"


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


def append_answers(rows: Sequence[dict[str, Any]], path: Path, *, new: bool) -> None:
    """Add answers to a CSV, with a header if it is new; the classes of a refused one stay empty.

    Raises:
        InputError: if it should be `new`, and another run has made it in the meantime.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=COLUMNS)
    try:
        with path.open("x" if new else "a", encoding="utf-8", newline="") as file:
            text = table.to_csv(
                header=not file.tell(), index=False, float_format="%.6g", lineterminator="\n"
            )
            file.write(text)  # at once: another run may add its rows
    except FileExistsError:
        raise InputError(
            f"--output: expected to be the only run that writes {path}. Received: one that another "
            "run has made in the meantime. Give another name."
        ) from None
