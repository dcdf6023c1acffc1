"""What differs between dvc.lock here and dvc.lock at a Git revision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from tissue.common.errors import InputError
from tissue.common.files import read_small
from tissue.config.loading import read_yaml
from tissue.experiments.dvc import call

LOCK = "dvc.lock"
DIGESTS = ("md5", "etag", "checksum")  # as DVC calls them: of files here, in buckets, on servers


class StageChange(NamedTuple):
    """The inputs and outputs of a stage that differ between two versions of dvc.lock."""

    stage: str
    inputs: list[str]
    outputs: list[str]


def lock_here() -> dict[str, Any]:
    """Return the stages of dvc.lock in this folder.

    Raises:
        InputError: if there is no such file, or it is not YAML.
    """
    try:
        return _parse(read_small(Path(LOCK)))
    except FileNotFoundError:
        raise InputError(
            f"{LOCK}: expected the run to verify. Received: no such file. Run `dvc repro`."
        ) from None


def lock_at(base: str) -> dict[str, Any]:
    """Return the stages of dvc.lock at a revision.

    Raises:
        InputError: if there is none, or it is not YAML.
    """
    try:
        text = call("git", "show", f"{base}:./{LOCK}")
    except InputError as error:
        received = str(error).partition("Received ")[2]
        raise InputError(
            f"{LOCK} at {base}: expected a committed run. Received {received}"
        ) from None
    return _parse(text)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    path: str
    md5: str = ""
    size: int | None = None
    nfiles: int | None = None


class _Stage(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    cmd: str | list[str] = ""
    deps: list[_Entry] = []
    params: dict[str, dict[str, Any]] = {}
    outs: list[_Entry] = []


class _Lock(BaseModel):
    """The form of dvc.lock, which anyone can commit."""

    model_config = ConfigDict(extra="allow", strict=True)
    stages: dict[str, _Stage] = {}


def _parse(text: str | bytes) -> dict[str, Any]:
    do = f"After a merge, take one side, as with `git checkout --ours {LOCK}`, and run `dvc repro`."
    lock = read_yaml(text, what=LOCK, do=do) or {}
    try:
        _Lock.model_validate(lock)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{LOCK}: expected what `dvc repro` writes. Received: {place}: {first['msg']}. {do}"
        ) from None
    return lock.get("stages", {})


def changed_stages(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[StageChange]:
    """Compare the stages of two versions of dvc.lock, in the order of the newer one.

    A path, parameter or command that only one of them has counts as different.
    """
    changes = []
    for name in dict.fromkeys([*new, *old]):
        before, after = (stages.get(name, {}) for stages in (old, new))
        inputs = _different(_digests(before, "deps"), _digests(after, "deps"))
        inputs += _different(_params(before), _params(after))
        inputs += ["cmd"] if before.get("cmd") != after.get("cmd") else []
        outputs = _different(_digests(before, "outs"), _digests(after, "outs"))
        changes.append(StageChange(name, inputs, outputs))
    return changes


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


def foreign_inputs(changes: list[StageChange]) -> dict[str, list[str]]:
    """Return by stage the inputs that differ and that no stage made: code, parameters, sources."""
    made = [path for change in changes for path in change.outputs]
    foreign = {}
    for stage, inputs, _ in changes:
        paths = [path for path in inputs if not any(map(Path(path).is_relative_to, made))]
        if paths:
            foreign[stage] = paths
    return foreign
