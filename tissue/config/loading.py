"""The one place where params.yaml is read."""

import os
import re
import reprlib
import textwrap
from collections.abc import Mapping
from difflib import get_close_matches
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tissue.common.backbones import packaged_file
from tissue.common.errors import InputError
from tissue.common.files import DAMAGED, file_digest, read_small
from tissue.common.secrets import redact
from tissue.config.schema import Params, Pretrained

MOST_SHOWN = 300  # letters of a value in a message
# Writes a few items of nested lists: of aliases in YAML, ten lines can be 10^8 items.
SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = SHOWN.maxlong = MOST_SHOWN
ADVANCED = "advanced"  # the block of params.yaml with the keys that few users change


def load_params(
    path: Path = Path("params.yaml"), changes: Mapping[str, str] | None = None
) -> Params:
    """Read and check params.yaml.

    `changes` override values of the file: YAML by key with dots, as in the file. The environment
    variable ENGINE_KIND overrides `engine.kind`, which changes no result.

    Raises:
        InputError: naming each key that is unknown, missing, of the wrong type or out of range.
    """
    values = _read_params(path)
    for key, value in (changes or {}).items():
        *above, last = key.split(".")
        reduce(getitem, above, values)[last] = read_yaml(value, what=key)
    if "ENGINE_KIND" in os.environ and isinstance(values.get("engine"), dict):
        values["engine"]["kind"] = os.environ["ENGINE_KIND"]
    advanced = values.pop(ADVANCED, None) or {}
    try:
        merged = _merge(values, advanced, known_keys())
        params = Params.model_validate(merged)
    except ValidationError as error:
        problems = error.errors()
        # Where one of several kinds of value holds a secret, the others are not the problem.
        problems = [one for one in problems if one["type"] == "secret"] or problems
        lines = sorted({_explain(problem, merged, values, advanced) for problem in problems})
        raise InputError(f"{path}:\n  " + "\n  ".join(lines)) from None
    except InputError as error:
        raise InputError(f"{path}:\n  {error}") from None
    _check_digest_is_given(params.pretrained)
    if len(params.pretrained.backbones) > 1 and params.engine.kind == "ray":
        raise InputError(
            "engine.kind: expected local with two backbones, since a machine of a cluster is sent "
            "the file of one. Received: ray. Name one in pretrained.backbone."
        )
    return params


def read_yaml(text: str | bytes, *, what: str, do: str = "Correct it.") -> Any:
    """Read YAML 1.2, in which `1e-5` is a number, as DVC reads and writes it.

    Raises:
        InputError: naming `what` it is, and what to `do`, if it is no YAML, or holds a value that
            is none of its kind, such as the 99th of a month.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, *DAMAGED) as error:
        place = (
            str(error).replace('in "<byte string>", ', "").replace('in "<unicode string>", ', "")
        )
        received = textwrap.shorten(place or type(error).__name__, MOST_SHOWN)
        raise InputError(f"{what}: expected YAML. Received: {received}. {do}") from None


def _read_params(path: Path) -> dict[str, Any]:
    try:
        text = read_small(path)
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected the parameters in the folder the stage runs in. Received: no such "
            f"file in {Path.cwd()}. Run the stage from the root of the repository."
        ) from None
    values = read_yaml(text, what=str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values. Received: {_show(values)}")
    return values


def _show(value: Any) -> str:
    """Return a value of any size as a message shows it, without what is secret in it."""
    try:
        text = SHOWN.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a value of the kind {type(value).__name__}"
    return textwrap.shorten(redact(text), MOST_SHOWN)


def _merge(
    values: Any, advanced: Any, known: dict[str, Any], above: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the values of a section together with those of the block `advanced`."""
    for section, keys in ((values, above), (advanced, (ADVANCED, *above))):
        if not isinstance(section, dict):
            raise InputError(
                f"{'.'.join(keys)}: expected keys and values. Received: {_show(section)}"
            )
    merged = dict(values)
    for name, value in advanced.items():
        key = ".".join([*above, str(name)])
        if name not in values:
            merged[name] = value
        elif known.get(name) is None:
            raise InputError(f"{key}: expected once. Received: also {ADVANCED}.{key}. Delete one.")
        else:
            merged[name] = _merge(values[name], value, known[name], (*above, name))
    return merged


def _explain(
    problem: Any, merged: dict[str, Any], values: dict[str, Any], advanced: dict[str, Any]
) -> str:
    # Pydantic names the alternatives of a union after the key; the key ends where the file ends.
    keys: list[str] = []
    found: Any = merged
    known: Any = known_keys(optional=True)
    for part in problem["loc"]:
        if not isinstance(found, dict) or part not in {*(known or ()), *found}:
            break
        keys.append(str(part))
        found = found.get(part)
        siblings, known = known, known.get(part) if isinstance(known, dict) else None
    in_advanced = _has_key(advanced, keys) and not _has_key(values, keys)
    key = ".".join([ADVANCED, *keys] if in_advanced else keys) or "keys"
    if problem["type"] == "missing":
        return f"{key}: expected a value. Received: nothing. Add the key."
    if problem["type"] == "extra_forbidden":
        close = get_close_matches(keys[-1], siblings, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(siblings)}."
        return f"{key}: unknown key. {hint}"
    if problem["type"] == "secret":
        return f"{key}: expected {problem['msg']}. Received: one that has them. Take them out."
    expected = problem["msg"].replace("String should match pattern", "text that matches")
    for prefix in ("Input should be ", "Value error, "):
        expected = expected.removeprefix(prefix)
    expected = re.sub(
        "^a valid dictionary( or instance of [A-Za-z]+)?", "keys and values", expected
    )
    expected = re.sub("^a valid (?=[aeiou])", "an ", expected).replace("a valid ", "a ")
    expected = re.sub("^(?=greater than|less than)", "a number ", expected)
    return f"{key}: expected {expected}. Received: {_show(found)}"


def _has_key(values: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def _check_digest_is_given(settings: Pretrained) -> None:
    # Otherwise DVC would join a head for features of the old weights to a backbone with the new.
    path = Path(settings.weights)
    if settings.weights.endswith(".weights.h5") and settings.sha256 is None and path.is_file():
        raise InputError(
            f"pretrained.sha256: expected the digest of {path}: DVC learns from it that the "
            f"features have to be computed again. Received: null; the file here has "
            f"{file_digest(path)}. If you trust it, set pretrained.sha256 to that."
        )


def check_named_files(params: Params) -> None:
    """Check that the files and the package exist which stages after the first will read.

    Raises:
        InputError: naming the first that does not.
    """
    named = {
        "fetch.hpa.genes": params.fetch.hpa.genes if params.fetch.source == "hpa" else None,
        "fetch.labels.table": params.fetch.labels.table if params.fetch.labels else None,
        "split.metadata": params.split.metadata,
        "pretrained.backbone": params.pretrained.backbones[0],
        "pretrained.weights": params.pretrained.weights,
    }
    for key, value in named.items():
        is_file = "pretrained" not in key or str(value).endswith((".onnx", ".weights.h5"))
        if value is not None and is_file and not Path(value).is_file():
            raise InputError(
                f"{key}: expected a file. Received: {value}, which does not exist under "
                f"{Path.cwd()}. Correct the path, or run `dvc pull` if it is under DVC."
            )
    if params.pretrained.weights == "packaged":
        for key in params.pretrained.backbones:
            packaged_file(key)


def known_keys(section: type[BaseModel] = Params, *, optional: bool = False) -> dict[str, Any]:
    """Return the keys of a section: nested dictionaries, with None for a key that is no section.

    With `optional`, a key that may be null, such as `fetch.labels`, counts as a section.
    """
    keys = dict[str, Any]()
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *(get_args(field.annotation) if optional else ()))
        inner = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
        keys[field.alias or name] = known_keys(inner[0], optional=optional) if inner else None
    return keys
