"""Why images were misclassified: a bar of causes, what errors share, and cards of confusions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from tissue.common.names import MODEL_NAMES, MODELS, numbered
from tissue.data.index import FORMS
from tissue.error_analysis.table import CAUSES, NONE_FOUND, is_more_frequent
from tissue.figures.theme import CLASS_COLOURS
from tissue.report.data import group_word
from tissue.report.formatting import Table, count, interval, join_words, percent, rounded
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES, cause_names

# Colours of the parts of a bar: without a cause within and between organ systems, then causes.
STACK = ("#8C96A3", "#C9CED6", *CLASS_COLOURS)
# Of each measure: what is said of errors that have more and less of it.
WORDS = {
    "tissue_fraction": ("more tissue", "less tissue"),
    "blur": ("more blur", "less blur"),
    "haematoxylin": ("more haematoxylin", "less haematoxylin"),
    "dab": ("more DAB", "less DAB"),
    "distance": ("a greater distance from training", "a smaller distance from training"),
}
HELPS = "What would help"
HELP = {
    "little_tissue": "other pictures",
    "blur": "sharper pictures",
    "extreme_stain": "stain as in training",
    "unlike_training": "training images like these",
    "suspect_label": "a look at the labels",
    "few_donors": "more donors",
    "one_scale": "another weight of the magnifications",
    "looks_other": "many more donors, another stain, or a look at the labels",
    "not_learnt": "longer training, or a larger network",
    "views_disagree": "longer training, or more views",
    "donor_unseen": "more donors",
    NONE_FOUND: "another training, perhaps",
}


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
    if errors["errors"] == 1:
        cause = next((CAUSE_NAMES[one] for one in CAUSES if errors["causes"][one]["errors"]), "")
        said = f"The cause of the one error: {cause or CAUSE_NAMES[NONE_FOUND]}."
    elif frequent:
        said += f" More frequent than among correct predictions: {join_words(_few(frequent))}."
    if errors["errors"] > 1 and (within := errors.get("within_systems")):
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
    groups, same = index.loc[shown["id"]].nunique(), int((nearest == worst["predicted"]).sum())
    if len(shown) == 1:
        return (
            f"One {worst['actual']} is called {worst['predicted']}; the training image nearest to "
            f"it is {nearest.iloc[0]}."
        )
    return (
        f"{count(len(shown))} {worst['actual']} of {numbered(groups, group_word(inputs))} are "
        f"called {worst['predicted']}. The nearest training image of {count(same)} of them is "
        f"{worst['predicted']}."
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
    if not within or errors["errors"] < 2:
        return f"{said}."
    return (
        f"{said}. {within['errors']:,} of its {errors['errors']:,} errors are within one organ "
        f"system ({percent(within['share'])}, 95% interval "
        f"{interval(within['low'], within['high'])}). Evenly spread errors would have "
        f"{percent(within['expected'])} there."
    )


class Card(NamedTuple):
    """What is known of a confusion; class names as they are, and texts."""

    model: str
    actual: str
    predicted: str
    title: str
    causes: Table
    differs: str


def cards(inputs: Inputs, model: str) -> list[Card]:
    """Return the cards of a model, most errors first."""
    rows = inputs.confused_causes[inputs.confused_causes["model"] == model]
    keys = rows.groupby(["actual", "predicted"], sort=True)["of_errors"].first()
    order = keys.sort_values(ascending=False, kind="stable").index
    return [_card(inputs, model, *pair) for pair in order]


def _card(inputs: Inputs, model: str, actual: str, predicted: str) -> Card:
    causes, measures = (
        table[
            (table["model"] == model)
            & (table["actual"] == actual)
            & (table["predicted"] == predicted)
        ]
        for table in (inputs.confused_causes, inputs.confused_measures)
    )
    tested = inputs.tested(model)
    named = tested[(tested["class"] == actual) & (tested["predicted"] == predicted)]
    groups = inputs.index["test"].set_index("id")["group"].loc[named["id"]].nunique()
    where = numbered(groups, group_word(inputs))
    title = f"{count(len(named))} {actual} of {where}, called {predicted}"
    return Card(
        model, actual, predicted, title, _causes_table(causes, actual, predicted, model),
        _differences(measures),
    )  # fmt: skip


def _causes_table(causes: pd.DataFrame, actual: str, predicted: str, model: str) -> Table:
    wrong, right = (int(causes[key].iloc[0]) for key in ("of_errors", "of_correct"))
    head = (f"of {count(wrong)} errors (95% interval)", f"of {count(right)} correct")
    ordered = causes.sort_values("errors", ascending=False, kind="stable")
    rows = [
        {
            "Cause": CAUSE_NAMES[one.cause],
            head[0]: f"{count(one.errors)} ({interval(one.low, one.high)})",
            head[1]: f"{count(one.correct)} ({interval(one.correct_low, one.correct_high)})"
            if right
            else "none",
            HELPS: HELP[one.cause],
        }
        for one in ordered.itertuples()
    ]
    caption = f"Causes of {actual} called {predicted}, {MODEL_NAMES[model]}"
    return Table(caption, rows, texts=[HELPS])


def _differences(measures: pd.DataFrame) -> str:
    """Return in which measures errors differ from correct predictions of the class."""
    said = []
    for one in measures.itertuples():
        if one.low <= 0.5 <= one.high:
            continue
        (more, less), form = WORDS[one.measure], FORMS[one.measure]
        medians = f"median {form.format(one.wrong)}, correct {form.format(one.right)}"
        area = f"area {rounded(one.area)}, 95% interval {interval(one.low, one.high, rounded)}"
        said.append(f"They have {more if one.area > 0.5 else less}: {medians} ({area}).")
    if not said:
        return "No measured value tells them from correct predictions of the class."
    return " ".join(said)
