"""Try a grid of parameters: `python -m stages.sweep lr=0.001,0.003 pretrained.hidden=0,64`.

Runs an experiment of DVC for each combination of values, one after the other, in a temporary
folder, so that the working folder stays as it is: what Git tracks is used, as it stands. Stages
that ran before with the same parameters come from the cache. `dvc exp apply <experiment>` brings
one into the working folder.

Writes `sweep/sweep.csv`, a row for each experiment and model that the grid changes, best accuracy
on validation first, and `sweep/sweep.png`, accuracy against cost in seconds and parameters. Seconds
are timed here, of training and embedding as far as they ran, so nothing else should run beside.

Choose by validation: the best of many experiments on test is the luckiest. The exit status is 1 if
an experiment failed; the others are in the table all the same.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.cli.running import InputError, command, parser_of
from stages.dataset.files import write_table
from stages.figures.costs import cost_figure
from stages.figures.saving import save_png
from stages.sweeping.experiments import read_metrics, run_experiment
from stages.sweeping.grid import Point, points
from stages.sweeping.table import rows_of_experiment, sweep_table


def run(grid: list[Point], out: Path) -> list[str]:
    """Run all points, write table and figure, and return what went wrong.

    Args:
        grid: parameters and values of each experiment.
        out: folder for `sweep.csv` and `sweep.png`.
    """
    rows: list[dict[str, Any]] = []
    failed = []
    for point in tqdm(grid, desc="sweep", unit="experiment", disable=None):
        told = " ".join(f"{key}={value}" for key, value in point.items())
        try:
            experiment = run_experiment(point)
        except InputError as error:
            failed.append(f"{told}: {error}")
            continue
        made = rows_of_experiment(point, experiment, read_metrics(experiment.name))
        rows.extend(made)
        # After each, so that what is done stays when the sweep is stopped.
        write_table(sweep_table(rows), out / "sweep.csv")
        for row in made:
            tqdm.write(f"{told}: {row['model']} {row['val_accuracy']:.1%} on validation")
    if rows:
        table = sweep_table(rows)
        save_png(cost_figure(table), out / "sweep.png")
        print(table.drop(columns=["test_macro_f1", "test_ece"]).to_string(index=False))
        print(f"The table lies in {out}/sweep.csv, the figure in {out}/sweep.png")
    return failed


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = parser_of("sweep", __doc__)
    parser.add_argument("grid", nargs="+", metavar="key=value,value", help="parameter and values")
    parser.add_argument("--out", type=Path, default="sweep", metavar="FOLDER", help="(%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Sweep as the command line says."""
    options = _parse(arguments)
    with command("sweep"):
        failed = run(points(options.grid), options.out)
    if failed:
        sys.exit("sweep: " + "\nsweep: ".join(failed))


if __name__ == "__main__":
    main()
