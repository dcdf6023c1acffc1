"""How numbers are written on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd


def percent(share: float) -> str:
    """0.8472 as 84.7%."""
    return f"{100 * share:.1f}%"


def percentage_points(difference: float) -> str:
    """A difference of shares in percentage points: 0.236 as +23.6, with a real minus sign."""
    # Adding zero takes the sign from a zero.
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def decimal(value: float) -> str:
    """Three decimals, with a real minus sign."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float) -> str:
    """p = 0.31, p = 0.032, and p < 0.001 below that; the line does not break inside."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.{2 if p >= 0.1 else 3}f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def count(number: int) -> str:
    """1080 as 1,080."""
    return f"{int(number):,}"


def spread(values: pd.Series, digits: int) -> str:
    """Median and the range of the middle 80%: `0.62 (0.31 to 0.80)`."""
    low, middle, high = (float(values.quantile(q)) for q in (0.1, 0.5, 0.9))
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


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
