"""The one place where params.yaml is read."""

import hashlib
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import reduce
from operator import getitem
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tissue.common.errors import InputError
from tissue.config.schema import Params, Pretrained, known_keys

ENGINE_KIND = "ENGINE_KIND"
ADVANCED = "advanced"  # block of params.yaml that holds what users need not change


def load_params(
    path: Path = Path("params.yaml"), changes: Mapping[str, str] = MappingProxyType({})
) -> Params:
    """Read and check params.yaml.

    The environment variable ENGINE_KIND overrides `engine.kind`, which changes no result.

    Args:
        path: the file.
        changes: values in YAML that override those of the file, by key with dots.

    Raises:
        InputError: naming each key that is unknown, missing, of the wrong type or out of range.
    """
    values = _read_yaml(path)
    if ENGINE_KIND in os.environ and isinstance(values.get("engine"), dict):
        values["engine"]["kind"] = os.environ[ENGINE_KIND]
    for key, value in changes.items():
        *above, last = key.split(".")
        try:
            reduce(getitem, above, values)[last] = YAML(typ="safe", pure=True).load(value)
        except YAMLError:
            raise InputError(f"{key}: expected a value in YAML. Received: {value}") from None
    advanced = values.pop(ADVANCED, None) or {}
    _merge(values, advanced, path)
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        # Where one of several kinds of value holds a secret, the others are not the problem.
        problems = [one for one in problems if one["type"] == "secret"] or problems
        lines = sorted({_explain(problem, values, advanced) for problem in problems})
        raise InputError(f"{path}:\n  " + "\n  ".join(lines)) from None
    _check_digest_is_given(params.pretrained)
    return params


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read a file as YAML 1.2, in which `1e-5` is a number, as DVC reads and writes it."""
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected the parameters in the folder the stage runs in. Received: no such "
            f"file in {Path.cwd()}. Run the stage from the root of the repository."
        ) from None
    except YAMLError as error:
        raise InputError(f"{path}: expected YAML. Received: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values. Received: {values!r}")
    return values


def _merge(values: dict[str, Any], advanced: Any, path: Path, above: str = "") -> None:
    """Move what stands in `advanced` to where the schema expects it."""
    if not isinstance(advanced, dict):
        key = f"{ADVANCED}{above}"
        raise InputError(f"{path}:\n  {key}: expected keys and values. Received: {advanced!r}")
    for name, value in advanced.items():
        key = f"{above}.{name}"
        if isinstance(values.get(name), dict):
            _merge(values[name], value, path, key)
        elif name in values:
            raise InputError(
                f"{path}:\n  {key[1:]}: expected once. Received: also {ADVANCED}{key}. Delete one."
            )
        else:
            values[name] = value


def check_named_files(params: Params) -> None:
    """Check that the files are here which stages after the first will read.

    Raises:
        InputError: naming the first that is not.
    """
    named = {
        "split.metadata": params.split.metadata,
        "pretrained.backbone": params.pretrained.backbone,
        "pretrained.weights": params.pretrained.weights,
    }
    for key, value in named.items():
        is_file = key == "split.metadata" or str(value).endswith((".onnx", ".weights.h5"))
        if value is not None and is_file and not Path(value).is_file():
            raise InputError(
                f"{key}: expected a file. Received: {value}, which does not exist under "
                f"{Path.cwd()}. Correct the path, or run `dvc pull` if it is under DVC."
            )


def _check_digest_is_given(settings: Pretrained) -> None:
    # Else DVC would join a head for the features of the old weights to a backbone with new ones.
    path = Path(settings.weights)
    if settings.weights.endswith(".weights.h5") and settings.sha256 is None and path.is_file():
        with path.open("rb") as file:
            received = hashlib.file_digest(file, "sha256").hexdigest()
        raise InputError(
            f"pretrained.sha256: expected the digest of {path}: DVC learns from it that the "
            f"features have to be computed again. Received: null; the file here has {received}. "
            "If you trust it, set pretrained.sha256 to that."
        )


def _explain(problem: Any, values: dict[str, Any], advanced: dict[str, Any]) -> str:
    # Pydantic names the alternatives of a union behind the key; the key ends where the file ends.
    keys: list[str] = []
    found: Any = values
    known: Any = known_keys()
    for part in problem["loc"]:
        if not isinstance(found, dict) or part not in {*(known or ()), *found}:
            break
        keys.append(str(part))
        found = found.get(part)
        siblings, known = known, known.get(part) if isinstance(known, dict) else None
    key = ".".join([ADVANCED, *keys] if _holds(advanced, keys) else keys)
    if problem["type"] == "missing":
        return f"{key}: expected a value. Received: nothing. Add the key."
    if problem["type"] == "extra_forbidden":
        close = get_close_matches(keys[-1], siblings, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(siblings)}."
        return f"{key}: unknown key. {hint}"
    if problem["type"] == "secret":
        return f"{key}: expected {problem['msg']}. Received: one that has them. Take them out."
    expected = problem["msg"].replace("String should match pattern", "text that matches")
    for prefix in ("Input should be ", "a valid ", "Value error, "):
        expected = expected.removeprefix(prefix)
    # Messages are in logs.
    received = re.sub(r"://[^/@\s]+@", "://***@", repr(found))
    return f"{key}: expected {expected}. Received: {received}"


def _holds(values: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return bool(keys)
