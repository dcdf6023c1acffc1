"""A table as plain rows of text; the template only sets it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

PART_NAMES = {"train": "training", "val": "validation", "test": "test"}


class Bar(NamedTuple):
    """A cell that shows its number as a bar, too."""

    text: str
    share: float
    model: str


@dataclass(frozen=True)
class Table:
    """A caption, a heading for each column, and rows whose first cell is their heading."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Bar]]
    texts: Sequence[int] = ()  # columns of words instead of numbers, beside the first
