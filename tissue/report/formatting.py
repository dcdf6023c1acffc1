"""How numbers, intervals and tables are written on the page and the model card."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tissue.common.names import count_joined

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
MINUS = "\N{MINUS SIGN}"


def percent(share: float) -> str:
    """Write 0.8472 as 84.7%."""
    return f"{100 * share:.1f}%"


def percentage_points(difference: float) -> str:
    """Write a difference of shares in percentage points: 0.236 as +23.6, with a real minus sign."""
    # Adding zero removes the sign of a zero.
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", MINUS)


def decimal(value: float) -> str:
    """Write three decimals, with a real minus sign."""
    return f"{value:.3f}".replace("-", MINUS)


def p_value(p: float) -> str:
    """Write p = 0.31, p = 0.032, or p < 0.001 below that, without a line break inside."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.{2 if p >= 0.1 else 3}f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def count(number: int) -> str:
    """Write 1080 as 1,080."""
    return f"{int(number):,}"


def interval(low: float | None, high: float | None, write: Callable[[Any], str] = percent) -> str:
    """Write `80.3% to 88.6%`, or nothing where no interval was measured."""
    return "" if low is None or high is None else f"{write(low)} to {write(high)}"


def join_words(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def markdown(value: Any) -> str:
    """Write a value into a cell of a Markdown table, where nothing in it counts as markup."""
    return re.sub(r"([\\`*<|\[\]])", r"\\\1", str(value)).replace("\n", " ")


# Measures of the test set by their key in metrics/<model>.json: title, and form on the page.
MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("Accuracy", percent),
    "accuracy_10_tissues": ("Accuracy over {tissues} tissues", percent),
    "accuracy_8_systems": ("Accuracy over {systems} organ systems", percent),
    "top3_accuracy": ("Top-3 accuracy", percent),
    "balanced_accuracy": ("Balanced accuracy", percent),
    "macro_f1": ("Macro F1", decimal),
    "kappa": ("Cohen\N{RIGHT SINGLE QUOTATION MARK}s kappa", decimal),
    "nll": ("Negative log-likelihood (lower is better)", decimal),
    "brier": ("Brier score (0 to 2, lower is better)", decimal),
    "ece": ("Calibration error (ECE; interval without the part of chance)", decimal),
    "ece_chance": ("ECE that a calibrated model has by chance", decimal),
    "rms_calibration_error": ("Calibration error (root mean square, debiased)", decimal),
}


def measures_of(test: Mapping[str, Any], classes: Sequence[str]) -> dict[str, str]:
    """Return the titles of the measures of a test set, by key; those not measured are left out."""
    joined = count_joined(classes)
    return {key: title.format(**joined) for key, (title, _) in MEASURES.items() if key in test}


class Bar(NamedTuple):
    """A cell that also shows its number as a bar."""

    text: str
    share: float
    model: str


class Table:
    """Cells of texts or bars below a caption; the first column heads the rows."""

    def __init__(self, caption: str, cells: Any, texts: Collection[str] = ()) -> None:
        """Take cells as `pd.DataFrame` does, and the columns of words instead of numbers."""
        frame = pd.DataFrame(cells)
        self.caption, self.texts = caption, texts
        self.head: list[str] = frame.columns.tolist()
        self.rows: list[tuple[str | Bar, ...]] = list(frame.itertuples(index=False, name=None))


def render_template(name: str, **context: Any) -> str:
    """Fill in a template of this package; what goes into HTML is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda template: ".html." in str(template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "count": count, "markdown": markdown}
    return environment.get_template(name).render(context)
