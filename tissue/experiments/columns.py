"""Make `dvc exp show --csv` narrow: `dvc exp show --csv | python -m tissue.experiments.columns`.

Reads the CSV from standard input. A row is named by its experiment, else by its revision. Kept are
the numbers of `metrics.json` and the parameters that differ between the rows.
"""

import re
import sys

import pandas as pd

NAMES = ["Experiment", "rev", "typ"]
SHOWN = ["Created", "State"]
METRIC = re.compile(r"(metrics\.json:)?(scratch|pretrained)\.(train|val|test|macro_f1|nll|ece)")
# Of a dependency or an output, where others have the value of a parameter.
DIGEST = re.compile(r"([0-9a-f]{7}|[0-9a-f]{32}(\.dir)?)?")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one column of names, short column names and - for what is missing."""
    named = table["Experiment"].where(table["Experiment"] != "", table["rev"])
    indented = named.where(table["typ"] == "baseline", "  " + named)
    kept = [*(name for name in SHOWN if name in table), *filter(METRIC.fullmatch, table)]
    kept += [name for name in table.columns.difference([*NAMES, *kept, *SHOWN], sort=False)
             if _is_swept(table[name])]  # fmt: skip
    values = table[kept].replace("", "-")
    if "Created" in values:  # month, day and time
        created = values["Created"]
        shown = created.str.slice(len("2026-"), len("2026-01-31T12:34"))
        values["Created"] = created.where(created == "-", shown)
    # Two lines of headings, since sections repeat: the table then fits a screen.
    heads = pd.MultiIndex.from_tuples([_head(column) for column in kept])
    return values.set_axis(heads, axis="columns").set_axis(indented.rename(None), axis="index")


def _is_swept(values: pd.Series) -> bool:
    return values.nunique() > 1 and not all(DIGEST.fullmatch(value) for value in values)


def _head(column: str) -> tuple[str, str]:
    """Return the section of a metric or a parameter, and its name there."""
    section, _, name = re.sub(r"^(metrics\.json|params\.yaml):", "", column).rpartition(".")
    return section, name


if __name__ == "__main__":
    print(readable(pd.read_csv(sys.stdin, dtype=str, keep_default_na=False)).to_string())
