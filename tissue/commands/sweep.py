"""Try a grid: `python -m tissue sweep lr=0.001,0.003 advanced.scratch.dropout=0.2,0.3`.

Runs one DVC experiment per combination of values, one after the other, in a temporary folder, so
that the working folder stays as it is. It uses what Git tracks, in its present state. Stages that
ran before with the same parameters come from the cache. `dvc exp apply <experiment>` brings one
into the working folder.

With `--engine ray`, the experiments run on the Ray cluster at `engine.address` of params.yaml, each
in a new clone of the Git remote origin, with the data of the DVC remote: docs/scale.md.

Writes `sweep/sweep.csv`, one row per experiment and model that the grid changes, best validation
accuracy first, and `sweep/sweep.png`, accuracy against cost in seconds and parameters. Seconds are
those of training and embedding, measured here, so nothing else should run at the same time.

Choose by validation: the best of many experiments on test is the luckiest. The exit status is 1 if
an experiment failed; the others are in the table all the same.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from tissue.common.errors import InputError
from tissue.common.files import write_table
from tissue.config.command import check_output_folder, command, parser_of
from tissue.config.loading import load_params
from tissue.experiments.cluster import run_on_cluster
from tissue.experiments.grid import Point, describe_point, parse_grid
from tissue.experiments.runs import experiment_rows, read_metrics, run_here, sweep_table
from tissue.figures.costs import cost_figure
from tissue.figures.theme import save_png

ENGINES = {"local": run_here, "ray": run_on_cluster}


def run(grid: list[Point], out: Path, *, engine: str = "local") -> list[str]:
    """Run an experiment per point, write table and figure to `out`, and return the errors."""
    rows: dict[int, list[dict[str, Any]]] = {}
    table = pd.DataFrame()
    errors = []
    outcomes = ENGINES[engine](grid)
    for point, outcome in tqdm(
        outcomes, total=len(grid), desc="sweep", unit="experiment", disable=None
    ):
        if isinstance(outcome, InputError):
            errors.append(f"{describe_point(point)}: {outcome}")
            continue
        number = grid.index(point)
        fine_tuned = load_params(changes=point).pretrained.fine_tune_epochs > 0
        metrics = read_metrics(outcome.name)
        rows[number] = experiment_rows(point, outcome, metrics, fine_tuned=fine_tuned)
        # In the order of the grid, and written each time, in case the sweep is stopped.
        table = sweep_table([row for i in sorted(rows) for row in rows[i]])
        write_table(table, out / "sweep.csv")
        for row in rows[number]:
            tqdm.write(
                f"{describe_point(point)}: {row['model']} {row['val_accuracy']:.1%} on validation"
            )
    if rows:
        save_png(cost_figure(table), out / "sweep.png")
        print(table.drop(columns=["test_macro_f1", "test_ece"]).to_string(index=False))
        print(f"The table is {out}/sweep.csv, the figure {out}/sweep.png")
    return errors


def check_path(root: Path) -> None:
    """Raise an `InputError` if DVC could not run an experiment in a folder below this one.

    DVC 3.67 writes the path of its cache as ASCII.
    """
    if not str(root).isascii():
        raise InputError(
            "expected the project in a path of ASCII letters, since DVC cannot run experiments in "
            f"temporary folders elsewhere. Received: {root}. Move the clone."
        )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("sweep", __doc__)
    parser.add_argument("--engine", choices=ENGINES, default="local", help="(%(default)s)")
    parser.add_argument("grid", nargs="+", metavar="key=value,value", help="parameter and values")
    parser.add_argument("--out", type=Path, default="sweep", metavar="FOLDER", help="(%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process."""
    options = _parse(arguments)
    with command("sweep"):
        check_output_folder("--out", options.out)
        if options.engine == "local":
            check_path(Path.cwd())
        grid = parse_grid(options.grid)
        for point in grid:
            load_params(changes=point)  # else a stage would report it hours later
        errors = run(grid, options.out, engine=options.engine)
    if errors:
        sys.exit("sweep: " + "\nsweep: ".join(errors))
