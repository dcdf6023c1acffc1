"""Make `dvc exp show --csv` narrow: `dvc exp show --csv | python -m tissue.experiments.columns`.

Reads the CSV from standard input. A row is named by its experiment, else by its revision. Shown are
the numbers of `metrics.json` and the parameters in which rows differ, in lines as wide as the
terminal, or of 120 letters where there is none. A file gets all of them with `--csv`.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import pandas as pd

from tissue.common.files import write_table
from tissue.config.command import command

NAMES = ["Experiment", "rev", "typ"]
SHOWN = ["Created", "State"]
LONGEST = 40  # letters of a parameter, such as a path
WIDTH = 120  # where there is no terminal
METRIC = re.compile(r"(metrics\.json:)?(scratch|pretrained)\.(train|val|test|macro_f1|nll|ece)")
# Of a dependency or an output, where others have the value of a parameter.
DIGEST = re.compile(r"([0-9a-f]{7}|[0-9a-f]{32}(\.dir)?)?")
FILE = re.compile(r"(metrics\.json|params\.yaml):")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with names in front, and what differs between rows, else the metrics."""
    named = table["Experiment"].where(table["Experiment"] != "", table["rev"])
    indented = named.where(table["typ"] == "baseline", "  " + named)
    values = without_digests(table).drop(columns=[*NAMES, "Created"], errors="ignore")
    metrics = [name for name in values if METRIC.fullmatch(name)]
    values = values[list(values.columns[values.nunique() > 1]) or metrics]
    rounded = {
        name: [f"{float(value):.3f}" if value else "" for value in values[name]]
        for name in values.columns.intersection(metrics)
    }
    values = values.assign(**rounded).replace("", "-")
    return values.rename(columns=lambda name: FILE.sub("", name)).set_index(indented.rename(None))


def without_digests(table: pd.DataFrame) -> pd.DataFrame:
    """Return names, time and state, then the numbers of metrics.json, then the parameters."""
    kept = [name for name in table if not all(map(DIGEST.fullmatch, table[name]))]
    first = [*NAMES, *(name for name in kept if name in SHOWN or METRIC.fullmatch(name))]
    return table[[*first, *(name for name in kept if name not in first)]]


def as_text(table: pd.DataFrame, width: int) -> str:
    """Return the table as text, with a line for each part of a name, as in `pretrained.penalty`.

    Columns that do not fit into `width` letters follow below the others; longer texts are cut.
    """
    parts = [column.split(".") for column in table]
    deepest = max(map(len, parts), default=1)
    heads = pd.MultiIndex.from_tuples(
        [("",) * (deepest - len(part)) + tuple(part) for part in parts], names=[None] * deepest
    )
    return table.set_axis(heads, axis="columns").to_string(line_width=width, max_colwidth=LONGEST)


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", type=Path, help="file for all metrics and parameters")
    options = parser.parse_args()
    with command("compare"):
        table = pd.read_csv(sys.stdin, dtype=str, keep_default_na=False)
        if options.csv:
            write_table(without_digests(table), options.csv)
        print(as_text(readable(table), shutil.get_terminal_size((WIDTH, 0)).columns))


if __name__ == "__main__":
    main()
