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
# What DVC says when it goes on to another stage, or to storing what the last one made.
OTHERWISE = re.compile(r"Stage '[^']+' (is cached|didn't change)|Ran experiment|Use `dvc push`")
NAMED = re.compile(r"^\s*Ran experiment\(s\): (\S+)")


class Experiment(NamedTuple):
    """An experiment that ended well: its name, and the seconds of each stage that was run."""

    name: str
    seconds: dict[str, float]


Outcome = Experiment | InputError  # the latter says why it failed


def run_here(grid: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
    """Run an experiment for each point of a grid, one after the other, in temporary folders."""
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
    """Run the pipeline up to `evaluate` with other parameters.

    Args:
        point: the parameters.
        options: more of those of `dvc exp run`.
        cwd: the repository, if it is not this folder.
        env: variables, if not those of `environment`.

    Raises:
        InputError: if a stage fails, with the end of what it said.
    """
    changes = [word for item in point.items() for word in ("--set-param", "=".join(item))]
    command = [*DVC, "exp", "run", *options, *changes, "evaluate"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env=environment() if env is None else env,
    ) as process:
        assert process.stdout is not None, "asked for"
        seconds, lines = time_stages((time.monotonic(), line) for line in process.stdout)
    named = [found[1] for line in lines if (found := NAMED.match(line))]
    if process.returncode or not named:
        raise InputError(f"the experiment failed:\n{''.join(lines[-TAIL:])}")
    return Experiment(named[-1], seconds)


def time_stages(lines: Iterable[tuple[float, str]]) -> tuple[dict[str, float], list[str]]:
    """Return the seconds of each stage that ran, and all that DVC printed.

    They are those between the lines in which DVC names a stage and goes on, so they hold the start
    of Python and the storing of results; a stage taken from the cache has none.

    Args:
        lines: what DVC prints, each with the time of its arrival in seconds.
    """
    seconds: dict[str, float] = {}
    printed: list[str] = []
    running, since = "", 0.0
    now = 0.0
    for now, line in lines:
        printed.append(line)
        started = RUNNING.search(line)
        if running and (started or OTHERWISE.search(line)):
            seconds[running] = seconds.get(running, 0.0) + now - since
            running = ""
        if started:
            running, since = started[1], now
    if running:
        seconds[running] = now - since
    return seconds, printed


def read_metrics(name: str) -> dict[str, Any]:
    """Return the metrics of an experiment by file: `{"metrics/scratch.json": {...}}`."""
    import dvc.api  # takes half a second

    paths = [f"metrics/{model}.json" for model in ("pretrained", "scratch")]
    return {path: dvc.api.metrics_show(path, rev=name) for path in paths}


TEST = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "ece")


def experiment_rows(
    point: Point, experiment: Experiment, metrics: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a row for each model that the parameters of a point change.

    `seconds` are those of the training and, for the pretrained model, of the embedding, where they
    ran; what came from the cache costs nothing and adds nothing, so `ran` names what did run.
    """
    rows = []
    for model in changed_models(list(point)):
        values = metrics[f"metrics/{model}.json"]
        needed = [f"train_{model}", *(["embed"] if model == "pretrained" else [])]
        ran = [stage for stage in sorted(needed) if stage in experiment.seconds]
        rows.append(
            {
                "experiment": experiment.name,
                **point,
                "model": model,
                "val_accuracy": values["val"]["accuracy"],
                **{f"test_{name}": values["test"][name] for name in TEST},
                "parameters": values["parameters"],
                "seconds": round(sum(experiment.seconds[stage] for stage in ran), 1)
                if ran
                else None,
                "ran": " ".join(ran),
            }
        )
    return rows


def sweep_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows, best accuracy on validation first within each model."""
    table = pd.DataFrame(rows)
    return table.sort_values(
        ["model", "val_accuracy"], ascending=[True, False], kind="stable", ignore_index=True
    )
