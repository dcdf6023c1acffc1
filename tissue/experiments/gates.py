"""Whether a metric has fallen by more than its tolerance."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from tissue.common.errors import InputError
from tissue.experiments.revisions import Change

ROUNDING = 1e-9  # metrics have four decimals: differences of these are compared with some slack


class Check(NamedTuple):
    """A metric with a tolerance, before and after; None before where it is new."""

    key: str
    old: float | None
    new: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it has not fallen by more than its tolerance; a new metric cannot have fallen."""
        return self.old is None or self.old - self.new <= self.tolerance + ROUNDING


def check_gates(metrics: Sequence[Change], tolerance: Mapping[str, float]) -> list[Check]:
    """Hold each metric with a tolerance against what it was.

    Raises:
        ValueError: if the workspace has no such metric, since a gate must not pass for lack of one.
    """
    by_key = {change.key: change for change in metrics}
    found = []
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
        found.append(Check(key, old, float(change.new), allowed))
    return found


DIGESTS = ("md5", "etag", "checksum")  # as DVC calls them: of files here, in buckets, on servers


class Outcome(NamedTuple):
    """A stage in two versions of dvc.lock: what went in and what came out differently."""

    stage: str
    inputs: list[str]
    outputs: list[str]


def outcomes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Outcome]:
    """Compare two contents of dvc.lock, stage by stage, in the order of the newer one.

    A path, parameter or command that only one of them has counts as different.
    """
    before, after = old.get("stages", {}), new.get("stages", {})
    names = [*after, *(name for name in before if name not in after)]
    return [_outcome(name, before.get(name, {}), after.get(name, {})) for name in names]


def _outcome(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Outcome:
    inputs = _different(_digests(old, "deps"), _digests(new, "deps"))
    inputs += _different(_params(old), _params(new))
    inputs += ["cmd"] if old.get("cmd") != new.get("cmd") else []
    return Outcome(name, inputs, _different(_digests(old, "outs"), _digests(new, "outs")))


def _digests(stage: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        entry["path"]: next((entry[name] for name in DIGESTS if name in entry), None)
        for entry in stage.get(kind, [])
    }


def _params(stage: Mapping[str, Any]) -> dict[str, Any]:
    files = stage.get("params", {})
    return {f"{file}: {key}": value for file in files for key, value in files[file].items()}


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))


def first_difference(found: list[Outcome]) -> Outcome | None:
    """The first stage that made something else."""
    return next((one for one in found if one.outputs), None)


def foreign_inputs(found: list[Outcome]) -> dict[str, list[str]]:
    """Inputs that differ and that no stage made, by stage: other code, parameters or sources."""
    made = {path for one in found for path in one.outputs}

    def is_made(path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in made)

    foreign = {one.stage: [path for path in one.inputs if not is_made(path)] for one in found}
    return {stage: paths for stage, paths in foreign.items() if paths}


def beyond(metrics: list[Change], tolerance: Mapping[str, float]) -> list[Change]:
    """Metrics with a tolerance that differ by more than it, in either direction, or are missing."""
    by_key = {one.key: one for one in metrics}
    found = []
    for key, allowed in sorted(tolerance.items()):
        one = by_key.get(key, Change(key, None, None))
        numbers = [value for value in (one.old, one.new) if isinstance(value, int | float)]
        if len(numbers) < 2 or abs(numbers[0] - numbers[1]) > allowed + ROUNDING:
            found.append(one)
    return found
