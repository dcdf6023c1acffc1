"""A grid of parameters as on the command line: `lr=0.001,0.003 advanced.scratch.dropout=0.2`."""

import re
from collections.abc import Sequence
from functools import reduce
from itertools import product
from operator import getitem
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tissue.common.errors import InputError
from tissue.config.loading import ADVANCED, known_keys, load_params

Point = dict[str, str]  # values by key, as in params.yaml
COMMA = re.compile(r",(?![^\[]*\])")  # between values, and not inside of a list
# No metric of a model depends on these sections, or `sweep` sets them itself.
WITHOUT_EFFECT = ("audit", "compare", "engine", "tsne")
OF_STEPS = ("lr", "batch_size")  # of what is trained by steps


def parse_grid(arguments: Sequence[str], path: Path = Path("params.yaml")) -> list[Point]:
    """Return every combination of values; the last parameter changes fastest.

    Each argument is `key=value[,value...]`. Keys may lack their `advanced.`, and a value may be a
    list, such as `[0.57,0.79]`.

    Raises:
        InputError: if an argument has another form, or its key is no parameter or changes no model.
    """
    load_params(path)  # so every known key is in the file
    values_in_file = YAML(typ="safe", pure=True).load(path)
    grid: dict[str, list[str]] = {}
    for argument in arguments:
        key, _, listed = argument.partition("=")
        values = COMMA.split(listed)
        key = _key_in_file(key, values_in_file)
        if not all(values) or _has_doubles(values) or key in grid:
            raise InputError(
                f"expected parameters, each once, as key=value,value with different values. "
                f"Received: {argument!r}. For example: lr=0.001,0.003"
            )
        grid[key] = values
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _has_doubles(values: Sequence[str]) -> bool:
    # 0.001 and 1e-3 are one experiment, and DVC would run the second in vain.
    try:
        read = [repr(YAML(typ="safe", pure=True).load(value)) for value in values]
    except YAMLError:
        return False  # reported when the parameters are read
    return len(set(read)) < len(read)


def _key_in_file(key: str, values: dict[str, object]) -> str:
    short = key.removeprefix(f"{ADVANCED}.")
    known = known_keys()
    for part in short.split("."):
        if not isinstance(known, dict) or part not in known:
            raise InputError(
                f"expected parameters of params.yaml. Received: {key!r}. Known here: "
                f"{', '.join(known) if isinstance(known, dict) else 'nothing below it'}."
            )
        known = known[part]
    if known is not None or short.partition(".")[0] in WITHOUT_EFFECT:
        raise InputError(
            f"expected parameters that change a model. Received: {key!r}, which "
            + ("holds others." if known is not None else "changes none.")
        )
    try:
        reduce(getitem, short.split("."), values)  # type: ignore[arg-type]
    except KeyError:
        return f"{ADVANCED}.{short}"
    return short


def describe_point(point: Point) -> str:
    """Return a point in one line: `lr=0.001 advanced.scratch.dropout=0.2`."""
    return " ".join(f"{key}={value}" for key, value in point.items())


def changed_models(keys: Sequence[str], *, fine_tuned: bool) -> list[str]:
    """Return the models that parameters change: one if all are in its section, else both.

    The head of a frozen backbone takes no steps, so `OF_STEPS` change it only with fine-tuning.
    """
    sections = {key.removeprefix(f"{ADVANCED}.").partition(".")[0] for key in keys}
    if not fine_tuned:
        sections = {"scratch" if section in OF_STEPS else section for section in sections}
    both = ["pretrained", "scratch"]
    return [model for model in both if model in sections] if sections <= set(both) else both
