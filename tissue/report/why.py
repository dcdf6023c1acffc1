"""Why images were misclassified: one bar of causes, and sentences on what the errors share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tissue.common.names import MODEL_NAMES, MODELS
from tissue.error_analysis.table import CAUSES, NONE_FOUND, is_more_frequent
from tissue.figures.theme import CLASS_COLOURS
from tissue.report.data_sentences import group_word
from tissue.report.formatting import count, interval, join_words, percent
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES, cause_names

# Colours of the parts of a bar: without a cause within and between organ systems, then causes.
STACK = ("#8C96A3", "#C9CED6", *CLASS_COLOURS)


class Part(NamedTuple):
    """A part of a bar: its name, how many images it stands for, and its colour."""

    name: str
    number: int
    colour: str


def why_errors(inputs: Inputs, model: str) -> list[Part]:
    """Return the errors of a model by their cause; those without one by what was confused."""
    errors = inputs.metrics["errors"][model]
    counted = {key: cause["errors"] for key, cause in errors["causes"].items()}
    unexplained, within = counted.pop(NONE_FOUND), errors.get("within_systems")
    found = [(count_, CAUSE_NAMES[key]) for key, count_ in counted.items()]
    found = [one for one in sorted(found, reverse=True) if one[0]]
    if within:
        alike = within[NONE_FOUND]
        rest = [(alike, "within one organ system, no measured cause"),
                (unexplained - alike, "between organ systems, no measured cause")]  # fmt: skip
    else:
        rest = [(unexplained, "no measured cause")]
    parts = [*((one, STACK[0]) for one in rest[:1]), *((one, STACK[1]) for one in rest[1:])]
    parts += [(one, STACK[2 + number]) for number, one in enumerate(found)]
    return [Part(name, number, colour) for (number, name), colour in parts if number]


def why_sentence(inputs: Inputs, model: str) -> str:
    """Return what the errors of a model have in common, and what its main confusion looks like."""
    errors = inputs.metrics["errors"][model]
    if not errors["errors"]:
        return f"The {MODEL_NAMES[model]} makes no errors."
    found, number = sum(errors["causes"][one]["errors"] for one in CAUSES), count(errors["errors"])
    frequent = [CAUSE_NAMES[cause] for cause in _frequent(errors)]
    ending = "" if frequent else ", none shown to be more frequent than among correct predictions"
    said = f"{count(found)} of {number} errors have a measured cause{ending}."
    if frequent:
        said += f" More frequent than among correct predictions: {join_words(_few(frequent))}."
    if within := errors.get("within_systems"):
        said = f"{count(within['errors'])} of {number} errors are within one organ system. {said}"
    return f"{said} {_main_confusion(inputs, model)}".rstrip()


def _frequent(errors: Mapping[str, Any]) -> list[str]:
    """Return the causes shown to be more frequent among errors, most errors first."""
    more = [cause for cause in CAUSES if is_more_frequent(errors["causes"][cause])]
    return sorted(more, key=lambda cause: -errors["causes"][cause]["errors"])


def _few(names: list[str]) -> list[str]:
    """Return the first three names, and how many more there are."""
    return names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])


def _main_confusion(inputs: Inputs, model: str) -> str:
    """Return how many images and groups the most frequent confusion has, and what lies nearest."""
    worst = inputs.confusions[inputs.confusions["model"] == model].iloc[0]
    errors = inputs.errors[inputs.errors["model"] == model]
    shown = errors[
        (errors["class"] == worst["actual"]) & (errors["predicted"] == worst["predicted"])
    ]
    if len(shown) < worst["count"]:  # the page has no neighbours of the others
        return ""
    index = inputs.index["test"].set_index("id")["group"]
    nearest = shown["neighbour_1"].map(inputs.index["train"].set_index("id")["class"])
    return (
        f"{count(len(shown))} {worst['actual']} of {count(index.loc[shown['id']].nunique())} "
        f"{group_word(inputs)}s are called {worst['predicted']}. The nearest training image of "
        f"{count((nearest == worst['predicted']).sum())} of them is {worst['predicted']}."
    )


def cause_sentences(inputs: Inputs) -> list[str]:
    """Return for each model which causes tell errors from correct predictions."""
    names = cause_names(inputs)
    return [_cause_sentence(inputs.metrics["errors"][model], model, names) for model in MODELS]


def _cause_sentence(errors: Mapping[str, Any], model: str, names: Mapping[str, str]) -> str:
    frequent = [names[cause] for cause in _frequent(errors) if cause in names]
    whose = f"more frequent among errors of the {MODEL_NAMES[model]}"
    said = f"No cause is shown to be {whose}"
    if frequent:
        said = f"{whose[0].upper()}{whose[1:]}: {join_words(_few(frequent))}"
    within = errors.get("within_systems")
    if not within or not errors["errors"]:
        return f"{said}."
    return (
        f"{said}. {within['errors']:,} of its {errors['errors']:,} errors are within one organ "
        f"system ({percent(within['share'])}, 95% interval "
        f"{interval(within['low'], within['high'])}). Evenly spread errors would have "
        f"{percent(within['expected'])} there."
    )
