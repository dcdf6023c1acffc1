"""One card for each confusion with at least five errors: why, and what would help."""

from typing import NamedTuple

import pandas as pd

from tissue.common.names import MODEL_NAMES
from tissue.data.index import FORMS
from tissue.error_analysis.table import NONE_FOUND
from tissue.report.data_sentences import group_word
from tissue.report.formatting import Table, count, interval, rounded
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES

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
    title = (
        f"{count(len(named))} {actual} of {count(groups)} {group_word(inputs)}s, called {predicted}"
    )
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
