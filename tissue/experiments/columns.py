"""Make `dvc exp show --csv` narrow: `dvc exp show --csv | python -m tissue.experiments.columns`.

Reads the CSV from standard input, which needs the columns Experiment, rev, typ and Created. A row
is named by its experiment, else by its revision; `metrics/scratch.json:test.accuracy` becomes
`scratch test accuracy`.
"""

import re
import sys

import pandas as pd


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one column of names, short column names and - for what is missing."""
    named = table["Experiment"].where(table["Experiment"] != "", table["rev"])
    indented = named.where(table["typ"] == "baseline", "  " + named)
    values = table.drop(columns=["Experiment", "rev", "typ"]).replace("", "-")
    values["Created"] = values["Created"].str.slice(0, len("2026-01-31T12:34"))
    return values.rename(columns=_short).set_axis(indented.rename(None), axis="index")


def _short(column: str) -> str:
    return re.sub(r"^metrics/|\.(json:)?", lambda found: " " if found.start() else "", column)


if __name__ == "__main__":
    print(readable(pd.read_csv(sys.stdin, dtype=str, keep_default_na=False)).to_string())
