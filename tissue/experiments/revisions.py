"""What differs between a Git revision and the workspace, asked of DVC's own commands."""

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from ruamel.yaml import YAML

from tissue.common.errors import InputError
from tissue.common.names import MODELS
from tissue.config.loading import load_params
from tissue.experiments.dvc import DVC, call

PREDICTIONS = "data/predictions"
MISSING = ("deleted", "not in cache")  # what `dvc status` says of data that is not here


class Change(NamedTuple):
    """A parameter or metric, before and after; None where it was not there."""

    key: str
    old: Any
    new: Any


class Tested(NamedTuple):
    """Predictions of the test part by model, or the reason why there are none."""

    tables: dict[str, pd.DataFrame]
    missing: str | None


def dvc(*arguments: str) -> str:
    """Run a DVC command here and return what it prints.

    Raises:
        ValueError: with DVC's own last line, if it fails.
    """
    command = [*DVC, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = said[-1].removeprefix("ERROR: ") if said else done.stderr.strip()
        raise InputError(f"`dvc {' '.join(arguments)}`: expected to succeed. Received: {reason}")
    return done.stdout


def changed_since_run() -> dict[str, list[str]]:
    """Stages whose code, parameters, inputs or outputs here are not those of dvc.lock.

    Data that is only missing, as in a fresh clone or after `dvc pull` of one file of a folder,
    makes no stage stale; nor does a watched source that this machine does not have.

    Returns:
        For each what makes it stale: paths, or words of DVC such as "changed command".
    """
    status = json.loads(dvc("status", "--json").splitlines()[0])
    watched = load_params().fetch.watch
    found = {stage: set(_real(changes, watched)) for stage, changes in status.items()}
    incomplete = _only_incomplete() if any(found.values()) else set()
    real = {stage: sorted(paths - incomplete) for stage, paths in found.items()}
    return {stage: paths for stage, paths in real.items() if paths}


def _real(changes: list[Any], watched: str) -> Iterator[str]:
    for change in changes:
        if isinstance(change, str):
            yield change
            continue
        for kind, states in change.items():
            for path, state in states.items():
                is_data = kind == "changed outs" or Path(path).parts[0] == "data"
                # DVC gives a path outside of the repository in full, and no slash at its end.
                is_watched = Path(path).resolve() == Path(watched).resolve()
                if state not in MISSING or not (is_data or is_watched):
                    yield path


def _only_incomplete() -> set[str]:
    """Folders that differ from dvc.lock in nothing but files that are not here."""
    changes = json.loads(dvc("data", "status", "--granular", "--json")).get("uncommitted", {})
    # DVC gives paths of this system.
    found = {kind: {path.replace(os.sep, "/") for path in paths} for kind, paths in changes.items()}
    other = {path for kind, paths in found.items() if kind != "deleted" for path in paths}
    folders = {path for path in found.get("modified", ()) if path.endswith("/")}
    return {
        folder.rstrip("/")
        for folder in folders
        if not any(path.startswith(folder) for path in other - {folder})
    }


def changed_params(base: str) -> list[Change]:
    """Parameters that differ between a revision and the workspace, sorted by name."""
    return _changes(json.loads(dvc("params", "diff", base, "--json") or "{}"))


def all_metrics(base: str) -> list[Change]:
    """Every number below `metrics/`, named as `pretrained.test.accuracy`, sorted by name."""
    text = dvc("metrics", "diff", base, "--all", "--json")
    _check_readable(base)
    by_file = json.loads(text or "{}")
    ours = {name: keys for name, keys in by_file.items() if Path(name).parent == Path("metrics")}
    return _changes({Path(name).stem: keys for name, keys in ours.items()}, with_file=True)


def _check_readable(base: str) -> None:
    # DVC leaves out a file that it cannot read, whose metrics would look as if they were new.
    for path in call("git", "ls-tree", "--name-only", base, "metrics/").splitlines():
        try:
            json.loads(call("git", "show", f"{base}:./{path}"))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: expected JSON in the revision {base}. Received: {error}. Mend and commit "
                "it there, or compare with another revision."
            ) from None


def _changes(
    by_file: Mapping[str, Mapping[str, dict[str, Any]]], *, with_file: bool = False
) -> list[Change]:
    found = []
    for file, keys in by_file.items():
        prefix = f"{file}." if with_file else "" if file == "params.yaml" else f"{file}: "
        found += [Change(prefix + key, v.get("old"), v.get("new")) for key, v in keys.items()]
    return sorted(found)


def same_images(base: str) -> bool:
    """Whether `fetch` wrote the same bytes at a revision, as far as both dvc.lock tell."""
    here = Path("dvc.lock").read_text(encoding="utf-8")
    return _fetched(call("git", "show", f"{base}:./dvc.lock")) == _fetched(here)


def _fetched(lock: str) -> list[str]:
    stages = YAML(typ="safe", pure=True).load(lock)["stages"]
    return [out["md5"] for out in stages["fetch"]["outs"]]


def predictions_here() -> Tested:
    """The predictions of the test part that lie in the workspace."""
    return _read(Path(PREDICTIONS))


def predictions_at(base: str, scratch: Path) -> Tested:
    """The predictions of the test part at a revision, from DVC's cache or a remote.

    Args:
        base: a Git revision.
        scratch: an empty folder to put them into.
    """
    target = scratch / "predictions"
    try:
        dvc("get", ".", PREDICTIONS, "--rev", base, "--out", str(target))
    except InputError as error:
        why = textwrap.shorten(str(error).partition("Received: ")[2], 200)
        return Tested(
            {},
            f"the predictions of {base} cannot be read here ({why}): where nobody has pushed "
            "them, run `dvc push` where they were made",
        )
    return _read(target)


def _read(folder: Path) -> Tested:
    files = {model: folder / f"{model}.csv" for model in MODELS}
    absent = [str(path) for path in files.values() if not path.is_file()]
    if absent:
        return Tested({}, f"there is no {absent[0]}: run `dvc pull` or `dvc repro`")
    return Tested({model: _test_part(path) for model, path in files.items()}, None)


def _test_part(path: Path) -> pd.DataFrame:
    # Names stay text even where they look like numbers.
    text = dict.fromkeys(("id", "split", "class", "predicted"), str)
    table = pd.read_csv(path, dtype=text, keep_default_na=False)
    if missing := [name for name in text if name not in table]:
        raise InputError(
            f"{path}: expected the table that `evaluate` writes. Received: one without "
            f"{', '.join(missing)}. Run `dvc checkout {PREDICTIONS}` or `dvc repro`."
        )
    return table[table["split"] == "test"].reset_index(drop=True)
