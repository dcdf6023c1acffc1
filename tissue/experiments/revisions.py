"""What differs between a Git revision and the workspace, and whether metrics are in tolerance."""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import flat_metrics
from tissue.common.names import MODELS
from tissue.config.loading import load_params
from tissue.experiments.dvc import call

PREDICTIONS = "data/predictions"
MISSING = ("deleted", "not in cache")  # what `dvc status` says of data that is not here
ROUNDING = 1e-9  # slack for floating point: metrics have four decimals


class Change(NamedTuple):
    """A parameter or metric, before and after; None where it was not there."""

    key: str
    old: Any
    new: Any


class NoPredictionsError(Exception):
    """Predictions cannot be paired; the message says why."""


def changed_since_run() -> dict[str, list[str]]:
    """Return the stages whose code, parameters, inputs or outputs here are not those of dvc.lock.

    Data that is only missing, as in a fresh clone or after `dvc pull` of one file of a folder,
    does not make a stage stale; nor does a watched source that this machine does not have.

    Returns:
        By stage what makes it stale: paths, or words of DVC such as "changed command".
    """
    status = json.loads(call("dvc", "status", "--json").splitlines()[0])
    watched = load_params().fetch.watch
    stale = {stage: set(_not_missing(changes, watched)) for stage, changes in status.items()}
    incomplete = _incomplete_folders() if any(stale.values()) else set()
    return {
        stage: sorted(paths - incomplete) for stage, paths in stale.items() if paths - incomplete
    }


def _not_missing(changes: list[Any], watched: str) -> Iterator[str]:
    for change in changes:
        if isinstance(change, str):
            yield change
            continue
        for kind, states in change.items():
            for path, state in states.items():
                is_data = kind == "changed outs" or Path(path).parts[0] == "data"
                # DVC gives a path outside of the repository in full, without a slash at its end.
                is_watched = Path(path).resolve() == Path(watched).resolve()
                if state not in MISSING or not (is_data or is_watched):
                    yield path


def _incomplete_folders() -> set[str]:
    """Return the folders that differ from dvc.lock only in files that are not here."""
    printed = call("dvc", "data", "status", "--granular", "--json")
    changes = {
        # DVC gives paths of this system.
        kind: {path.replace(os.sep, "/") for path in paths}
        for kind, paths in json.loads(printed).get("uncommitted", {}).items()
    }
    other = {path for kind, paths in changes.items() if kind != "deleted" for path in paths}
    return {
        folder.rstrip("/")
        for folder in changes.get("modified", ())
        if folder.endswith("/") and not any(path.startswith(folder) for path in other - {folder})
    }


def changed_params(base: str) -> list[Change]:
    """Return the parameters that differ between a revision and the workspace, sorted by name."""
    by_file = json.loads(call("dvc", "params", "diff", base, "--json") or "{}")
    return sorted(
        Change(key if file == "params.yaml" else f"{file}: {key}", v.get("old"), v.get("new"))
        for file, keys in by_file.items()
        for key, v in keys.items()
    )


def all_metrics(base: str) -> list[Change]:
    """Return every number in `metrics/`, named as `pretrained.test.accuracy`, sorted by name.

    Raises:
        InputError: if there is no such revision, or a file is no JSON.
    """
    paths = call("git", "ls-tree", "--name-only", base, "metrics/").splitlines()
    there = {path: call("git", "show", f"{base}:./{path}") for path in paths}
    here = {
        path.as_posix(): path.read_text(encoding="utf-8") for path in Path("metrics").glob("*.json")
    }
    old, new = _numbers(there, f"the revision {base}"), _numbers(here, "the workspace")
    return [Change(key, old.get(key), new.get(key)) for key in sorted(old | new)]


def _numbers(texts: Mapping[str, str], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, text in texts.items():
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: expected JSON in {where}. Received: {error}. Mend it there, or compare "
                "with another revision."
            ) from None
        found |= flat_metrics(values, Path(path).stem)
    return found


def predictions_here() -> dict[str, pd.DataFrame]:
    """Return the test predictions in the workspace, by model.

    Raises:
        NoPredictionsError: if there are none.
        InputError: if a file is not a table of predictions.
    """
    return _read(Path(PREDICTIONS))


def predictions_at(base: str, scratch: Path) -> dict[str, pd.DataFrame]:
    """Return the test predictions at a revision, from DVC's cache or a remote, by model.

    The files are put into the empty folder `scratch`.

    Raises:
        NoPredictionsError: if they cannot be read here.
        InputError: if a file is not a table of predictions.
    """
    target = scratch / "predictions"
    try:
        call("dvc", "get", ".", PREDICTIONS, "--rev", base, "--out", str(target))
    except InputError as error:
        reason = textwrap.shorten(str(error).partition("Received ")[2], 200)
        raise NoPredictionsError(
            f"the predictions of {base} cannot be read here ({reason}): where nobody has pushed "
            "them, run `dvc push` where they were made"
        ) from None
    return _read(target)


def _read(folder: Path) -> dict[str, pd.DataFrame]:
    files = {model: folder / f"{model}.csv" for model in MODELS}
    for path in files.values():
        if not path.is_file():
            raise NoPredictionsError(f"there is no {path}: run `dvc pull` or `dvc repro`")
    return {model: _test_rows(path) for model, path in files.items()}


def _test_rows(path: Path) -> pd.DataFrame:
    # Names stay text even where they look like numbers.
    text = dict.fromkeys(("id", "split", "class", "predicted"), str)
    table = pd.read_csv(path, dtype=text, keep_default_na=False)
    if missing := [name for name in text if name not in table]:
        raise InputError(
            f"{path}: expected the table that `evaluate` writes. Received: one without "
            f"{', '.join(missing)}. Run `dvc checkout {PREDICTIONS}` or `dvc repro`."
        )
    return table[table["split"] == "test"].reset_index(drop=True)


class Check(NamedTuple):
    """A metric with a tolerance, before and after; `old` is None where it is new."""

    key: str
    old: float | None
    new: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it is new, or has not fallen by more than its tolerance."""
        return self.old is None or self.old - self.new <= self.tolerance + ROUNDING

    @property
    def agrees(self) -> bool:
        """Whether it is not new, and has neither fallen nor risen by more than its tolerance."""
        return self.old is not None and abs(self.old - self.new) <= self.tolerance + ROUNDING


def check_gates(metrics: Sequence[Change], tolerance: Mapping[str, float]) -> list[Check]:
    """Compare each metric that has a tolerance with its old value.

    Raises:
        InputError: if the workspace has no such metric, since a gate must not pass for lack of one.
    """
    by_key = {change.key: change for change in metrics}
    checks = []
    for key, allowed in sorted(tolerance.items()):
        change = by_key.get(key)
        if change is None or not isinstance(change.new, int | float):
            close = get_close_matches(key, set(by_key) - {key})
            if change is not None:
                hint = "Here it has no number: run `dvc repro`, or mend the file in metrics/."
            elif close:
                hint = f"Did you mean {close[0]}? Correct it in params.yaml."
            else:
                hint = "Run `dvc repro` first."
            raise InputError(
                "compare.tolerance: expected the name of a metric in metrics/. Received: "
                f"{key!r}. {hint}"
            )
        old = float(change.old) if isinstance(change.old, int | float) else None
        checks.append(Check(key, old, float(change.new), allowed))
    return checks
