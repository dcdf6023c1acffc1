"""Run experiments with DVC, and time the stages that ran."""

import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tissue.common.errors import InputError
from tissue.experiments.dvc import DVC, TAIL, call, environment
from tissue.experiments.grid import Point, changed_models

RUNNING = re.compile(r"Running stage '([^']+)'")
# What DVC prints when it goes on to another stage, or to storing the results of the last one.
NOT_RUNNING = re.compile(r"Stage '[^']+' (is cached|didn't change)|Ran experiment|Use `dvc push`")
NAME = re.compile(r"^\s*Ran experiment\(s\): (\S+)")
TEST_METRICS = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "ece")


class Experiment(NamedTuple):
    """An experiment that succeeded: its name, and the seconds of each stage that was run."""

    name: str
    seconds: dict[str, float]


Outcome = Experiment | InputError  # the latter says why it failed


def run_here(grid: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
    """Run one experiment per point of a grid, one after the other, in temporary folders."""
    before = _tracked()
    for point in grid:
        try:
            if _tracked() != before:
                raise InputError(
                    "expected the code and parameters that the sweep began with. Received: others, "
                    "since the commit or a tracked file has changed. Begin again."
                )
            yield point, run_experiment(point, "--temp")
        except InputError as error:
            yield point, error


def _tracked() -> str:
    return call("git", "rev-parse", "HEAD") + call("git", "diff", "HEAD")


def run_experiment(
    point: Point, *options: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Experiment:
    """Run the pipeline up to `evaluate` with other parameters and options of `dvc exp run`.

    Raises:
        InputError: if a stage fails, with the last lines that it printed.
    """
    changes = [word for item in point.items() for word in ("--set-param", "=".join(item))]
    with subprocess.Popen(
        [*DVC, "exp", "run", *options, *changes, "evaluate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env=environment() if env is None else env,
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        seconds, lines = time_stages((time.monotonic(), line) for line in process.stdout)
    names = [found[1] for line in lines if (found := NAME.match(line))]
    if process.returncode or not names:
        raise InputError(f"the experiment failed:\n{''.join(lines[-TAIL:])}")
    return Experiment(names[-1], seconds)


def time_stages(lines: Iterable[tuple[float, str]]) -> tuple[dict[str, float], list[str]]:
    """Return the seconds of each stage that ran, and all lines that DVC printed.

    A stage lasts from the line that names it to the next one that names another or its results, so
    the start of Python and the storing of results are included. Cached stages have no seconds.
    Each line comes with the time of its arrival in seconds.
    """
    seconds: dict[str, float] = {}  # under "" those between stages
    printed: list[str] = []
    running, since, now = "", 0.0, 0.0
    for now, line in lines:
        printed.append(line)
        started = RUNNING.search(line)
        if started or NOT_RUNNING.search(line):
            seconds[running] = now - since
            running, since = (started[1] if started else ""), now
    seconds[running] = now - since
    return {stage: spent for stage, spent in seconds.items() if stage}, printed


def read_metrics(name: str) -> dict[str, Any]:
    """Return the metrics of an experiment by model."""
    import dvc.api  # takes half a second

    return {
        model: dvc.api.metrics_show(f"metrics/{model}.json", rev=name)
        for model in ("pretrained", "scratch")
    }


def experiment_rows(
    point: Point, experiment: Experiment, metrics: Mapping[str, Any], *, fine_tuned: bool
) -> list[dict[str, Any]]:
    """Return one row for each model that the parameters of a point change, see `changed_models`.

    `seconds` is the time of the training and, for the pretrained model, of the embedding. Stages
    that came from the cache add nothing; `ran` names those that did run.
    `metrics` are those of `metrics/<model>.json`, by model.
    """
    rows = []
    for model in changed_models(list(point), fine_tuned=fine_tuned):
        values = metrics[model]
        needed = ["embed", "train_pretrained"] if model == "pretrained" else ["train_scratch"]
        ran = [stage for stage in needed if stage in experiment.seconds]
        seconds = round(sum(experiment.seconds[stage] for stage in ran), 1)
        rows.append(
            {
                "experiment": experiment.name,
                **point,
                "model": model,
                "val_accuracy": values["val"]["accuracy"],
                **{f"test_{name}": values["test"][name] for name in TEST_METRICS},
                "parameters": values["parameters"],
                "seconds": seconds if ran else None,
                "ran": " ".join(ran),
            }
        )
    return rows


def sweep_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows, best validation accuracy first within each model."""
    table = pd.DataFrame(rows)
    return table.sort_values(
        ["model", "val_accuracy"], ascending=[True, False], kind="stable", ignore_index=True
    )
