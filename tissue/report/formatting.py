"""How numbers, intervals and tables are written on the page and the model card."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

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


def points(share: float) -> str:
    """Write a size in percentage points, without a sign: 0.056 as 5.6."""
    return f"{100 * share:.1f}"


def decimal(value: float) -> str:
    """Write three decimals, with a real minus sign."""
    return f"{value:.3f}".replace("-", MINUS)


def p_value(p: float) -> str:
    """Write p = 0.31, p = 0.032, or p < 0.001 below that, without a line break inside.

    0.001 may be the lowest that a thousand random draws can give, so it is written as a bound.
    """
    if p <= 0.001:
        text = "p < 0.001" if p < 0.001 else "p \N{LESS-THAN OR EQUAL TO} 0.001"
    else:
        text = f"p = {p:.{2 if p >= 0.1 else 3}f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def rounded(value: float) -> str:
    """Write three digits of a number of any size, two decimals at most: 80348.1 as 80,300."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 2
    text = f"{round(value, digits):,.{min(2, max(0, digits))}f}"
    return text.replace("-", MINUS)


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
    "case_accuracy": ("Accuracy by case (n = {cases}), one answer for its images", percent),
    "accuracy_10_tissues": ("Accuracy over {tissues} tissues", percent),
    "accuracy_8_systems": ("Accuracy over {systems} organ systems", percent),
    "top3_accuracy": ("Top-3 accuracy", percent),
    "balanced_accuracy": ("Balanced accuracy", percent),
    "macro_f1": ("Macro F1", decimal),
    "kappa": ("Cohen\N{RIGHT SINGLE QUOTATION MARK}s kappa", decimal),
    "roc_auc": ("Area under ROC, all classes together", decimal),
    "average_precision": ("Average precision, all classes together", decimal),
    "nll": ("Negative log-likelihood (lower is better)", decimal),
    "brier": ("Brier score (0 to 2, lower is better)", decimal),
    "rms_calibration_error": ("Calibration error (root mean square, debiased)", decimal),
    "ece": ("Calibration error (ECE, 15 bins, not debiased)", decimal),
}


def measures_of(test: Mapping[str, Any], classes: Sequence[str]) -> dict[str, str]:
    """Return the titles of the measures of a test set, by key; those not measured are left out."""
    named = {**count_joined(classes), "cases": count(test.get("cases", 0))}
    return {key: title.format(**named) for key, (title, _) in MEASURES.items() if key in test}


def measure_interval(values: Mapping[str, Any], key: str, write: Callable[[Any], str]) -> str:
    """Write the interval of a measure; of the ECE, which has none, what chance gives."""
    if key == "ece":
        return f"{interval(values['ece_chance_low'], values['ece_chance_high'], write)} by chance"
    return interval(values.get(f"{key}_low"), values.get(f"{key}_high"), write)


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


def render_markdown(text: str) -> tuple[str, Markup]:
    """Return the title of a Markdown page, and the rest as HTML one level below a section.

    Links lose their addresses, which lead out of the one file of the report; tables get a caption,
    the heading above them.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    title, heading, kept = "", "", list[Token]()
    for token in parser.parse(text):
        if token.type == "inline" and kept and kept[-1].type == "heading_open":
            heading = token.content
            if kept[-1].tag == "h2":  # moved down by one
                title = heading
        if token.type.startswith("heading"):
            token.tag = f"h{int(token.tag[1]) + 1}"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "table_open":
            token.meta = {"caption": heading}
        kept.append(token)
    for rule in ("link_open", "link_close"):
        parser.add_render_rule(rule, _write_nothing)
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    body = kept[3:] if title else kept  # without the heading of the page
    return title, Markup(parser.renderer.render(body, parser.options, {}))


def _write_nothing(*_: Any) -> str:
    return ""


def _open_table(_: Any, tokens: Sequence[Token], number: int, *__: Any) -> str:
    caption = escape(tokens[number].meta["caption"])
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}">'
        f'<table class="prose"><caption><span>{caption}</span></caption>\n'
    )


def _close_table(*_: Any) -> str:
    return "</table></div>\n"


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
    environment.filters |= {
        "percent": percent,
        "points": points,
        "count": count,
        "markdown": markdown,
    }
    return environment.get_template(name).render(context)
