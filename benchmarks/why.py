"""The tables of docs/why-misclassified.md: `python -m benchmarks.why [metrics [plots]]`.

Reads `errors.json` of the folder of metrics and `confusions.csv` of that of plots. Prints Markdown.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

NAMES = {
    "confusable_pair": "confusable pair",
    "suspect_label": "label looks wrong",
    "little_tissue": "little tissue",
    "extreme_stain": "extreme stain",
    "blur": "blur",
    "unlike_training": "unlike training",
    "donor_unseen": "donor not in training",
    "none_found": "none found",
}
PAIRS = 6


def between(value: dict[str, float]) -> str:
    """`71.4 % (65.3 to 77.2)`."""
    return f"{value['share']:.1%} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def cause_table(summary: dict[str, Any], models: list[str]) -> str:
    """Accuracy at each level and the share of errors of each cause, as Markdown."""
    rows = [["", *models], ["---"] * (len(models) + 1)]
    for level in summary[models[0]]["accuracy"]:
        rows.append([f"right {level}", *(between(summary[m]["accuracy"][level]) for m in models)])
    rows.append(["errors", *(str(summary[model]["errors"]) for model in models)])
    for cause, name in NAMES.items():
        if cause in summary[models[0]]["causes"]:
            found = [summary[model]["causes"][cause] for model in models]
            rows.append([name, *(f"{value['errors']}: {between(value)}" for value in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def pair_table(confusions: pd.DataFrame, models: list[str]) -> str:
    """The pairs that are confused most, in either direction, as Markdown."""
    pairs = [
        " / ".join(sorted(pair))
        for pair in zip(confusions["actual"], confusions["predicted"], strict=True)
    ]
    counts = confusions.assign(pair=pairs).pivot_table(
        "count", "pair", "model", aggfunc="sum", fill_value=0
    )[models]
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:PAIRS]
    lines = ["| pair | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
    lines += [
        f"| {pair} | " + " | ".join(f"{n}" for n in counts.loc[pair]) + " |" for pair in order
    ]
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path, nargs="?", default=Path("metrics"))
    parser.add_argument("plots", type=Path, nargs="?", default=Path("plots"))
    options = parser.parse_args()
    summary = json.loads((options.metrics / "errors.json").read_text(encoding="utf-8"))
    models = sorted(set(summary) - {"suspects"}, reverse=True)
    print(cause_table(summary, models))
    print()
    print(pair_table(pd.read_csv(options.plots / "confusions.csv"), models))


if __name__ == "__main__":
    main()
