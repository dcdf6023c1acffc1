"""A grid of parameters from the command line: `lr=0.001,0.003 pretrained.hidden=0,64`."""

import re
from collections.abc import Sequence
from itertools import product

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tissue.common.errors import InputError
from tissue.config.schema import known_keys

Point = dict[str, str]
COMMA = re.compile(r",(?![^\[]*\])")  # between values, and not inside of a list
# No metric of a model depends on them, or `sweep` sets them itself.
WITHOUT_EFFECT = ("compare", "engine", "tsne")


def parse_grid(arguments: Sequence[str]) -> list[Point]:
    """Return each combination of values, by parameter, the last parameter changing fastest.

    Args:
        arguments: `key=value[,value...]`, each key once; a key as in params.yaml, with dots; a
            value may be a list, as `[0.57,0.79]`.

    Raises:
        InputError: if one is written otherwise, is no parameter, or changes no model.
    """
    grid: dict[str, list[str]] = {}
    for argument in arguments:
        key, _, listed = argument.partition("=")
        values = COMMA.split(listed)
        if not all(values) or _has_doubles(values) or key in grid:
            raise InputError(
                f"expected parameters, each once, as key=value,value with different values. "
                f"Received: {argument!r}. For example: lr=0.001,0.003"
            )
        _check_known(key)
        grid[key] = values
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _has_doubles(values: Sequence[str]) -> bool:
    # 0.001 and 1e-3 are one experiment, and DVC would run the second in vain.
    try:
        read = [repr(YAML(typ="safe", pure=True).load(value)) for value in values]
    except YAMLError:
        return False  # who reads the parameters says so
    return len(set(read)) < len(read)


def _check_known(key: str) -> None:
    known = known_keys()
    for part in key.split("."):
        if not isinstance(known, dict) or part not in known:
            raise InputError(
                f"expected parameters of params.yaml. Received: {key!r}. Known here: "
                f"{', '.join(known) if isinstance(known, dict) else 'nothing below it'}."
            )
        known = known[part]
    if known is not None or key.partition(".")[0] in WITHOUT_EFFECT:
        raise InputError(
            f"expected parameters that change a model. Received: {key!r}, which "
            + ("holds others." if known is not None else "changes none.")
        )


def describe_point(point: Point) -> str:
    """Return a point as it is told: `lr=0.001 pretrained.hidden=64`."""
    return " ".join(f"{key}={value}" for key, value in point.items())


def changed_models(keys: Sequence[str]) -> list[str]:
    """Return the models that parameters change: those of one branch its own, all others both."""
    branches = {key.partition(".")[0] for key in keys}
    both = ["pretrained", "scratch"]
    return [model for model in both if model in branches] if branches <= set(both) else both
