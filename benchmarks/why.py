"""Print the tables of docs/why-misclassified.md: `python -m benchmarks.why [metrics [plots]]`.

Reads `errors.json` in the folder of metrics and `confusions.csv` in that of plots.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tissue.common.names import MODELS
from tissue.report.records import CAUSE_NAMES

PAIRS = 6


def with_interval(value: dict[str, float]) -> str:
    """Return a share and its interval, such as `71.4% (65.3 to 77.2)`."""
    return f"{value['share']:.1%} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def cause_table(summary: dict[str, Any], models: Sequence[str]) -> str:
    """Return how often each cause that is named at all is named, as Markdown."""
    first, summaries = summary[models[0]], [summary[model] for model in models]
    rows = [["", *models]]
    rows.append(["errors", *(str(s["errors"]) for s in summaries)])
    if "within_systems" in first:
        values = [s["within_systems"] for s in summaries]
        row = [f"{v['errors']}: {with_interval(v)}, evenly {v['expected']:.1%}" for v in values]
        rows.append(["within one organ system", *row])
    for cause, name in CAUSE_NAMES.items():
        found = [s["causes"][cause] for s in summaries]
        if any(one["errors"] or one["correct"] for one in found):
            rows.append([name, *map(rates, found)])
    return markdown(rows)


def rates(cause: dict[str, float]) -> str:
    """Return how often a cause is named for errors and for correct predictions."""
    low, high = (100 * cause[f"difference_{end}"] for end in ("low", "high"))
    return (
        f"{cause['errors']}: {cause['share']:.1%}, correct {cause['correct_share']:.1%}, "
        f"{100 * cause['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
    )


def pair_table(confusions: pd.DataFrame, models: Sequence[str]) -> str:
    """Return the pairs that are confused most, in either direction, as Markdown."""
    pairs = [" / ".join(sorted(pair)) for pair in confusions[["actual", "predicted"]].to_numpy()]
    counts = confusions.assign(pair=pairs).pivot_table(
        "count", "pair", "model", aggfunc="sum", fill_value=0
    )[list(models)]
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:PAIRS]
    rows = [[pair, *map(str, counts.loc[pair])] for pair in order]
    return markdown([["pair", *models], *rows])


def markdown(rows: list[list[str]]) -> str:
    """Return rows, of which the first is the heading, as a Markdown table."""
    heading, *body = rows
    lines = [heading, ["---"] * len(heading), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path, nargs="?", default=Path("metrics"))
    parser.add_argument("plots", type=Path, nargs="?", default=Path("plots"))
    options = parser.parse_args()
    summary = json.loads((options.metrics / "errors.json").read_text(encoding="utf-8"))
    print(cause_table(summary, MODELS))
    print()
    print(pair_table(pd.read_csv(options.plots / "confusions.csv"), MODELS))


if __name__ == "__main__":
    main()
