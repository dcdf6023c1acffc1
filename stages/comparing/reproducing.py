"""Whether a run gave again what is committed: outputs byte by byte, metrics within tolerances."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stages.comparing.gating import ROUNDING
from stages.comparing.revisions import Change

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
