"""Tables of single errors: what explains them, and labels that look wrong."""

import pandas as pd

from tissue.common.names import MODEL_NAMES, MODELS
from tissue.report.formatting import SPLIT_NAMES, Table, count, decimal, interval, percent
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES

ERRORS_SHOWN = 12  # in the table for readers without a script
SUSPECTS_SHOWN = 20


def cause_names(inputs: Inputs) -> dict[str, str]:
    """Return the causes that were measured; confusable pairs are known for the atlas only."""
    found = inputs.metrics["errors"][MODELS[0]]["causes"]
    return {cause: name for cause, name in CAUSE_NAMES.items() if cause in found}


def causes_table(inputs: Inputs) -> Table:
    """Return the share of each model's errors that each cause explains, with its interval."""
    head, rows = ["Cause"], []
    for model in MODELS:
        head += [
            f"{MODEL_NAMES[model]}, errors", "share (95% interval)", "of correct predictions",
        ]  # fmt: skip
    for cause, name in cause_names(inputs).items():
        row = [name]
        for model in MODELS:
            one = inputs.metrics["errors"][model]["causes"][cause]
            # A correct prediction confuses no pair, so its share would mean nothing.
            usual = "n/a" if cause == "confusable_pair" else percent(one["correct_share"])
            share = f"{percent(one['share'])} ({interval(one['low'], one['high'])})"
            row += [count(one["errors"]), share, usual]
        rows.append(row)
    caption = (
        "What explains the errors, one cause each, and how often the same is found in images that "
        "the model classifies correctly"
    )
    return Table(caption, pd.DataFrame(rows, columns=head))


def confident_errors_table(inputs: Inputs) -> Table:
    """Return the errors made with the highest confidence."""
    errors = inputs.errors.sort_values(["confidence", "model", "id"], ascending=[False, True, True])
    shown = errors.head(ERRORS_SHOWN)
    cells = {
        "Image": shown["id"],
        "Model": shown["model"].map(MODEL_NAMES),
        "Actual": shown["class"],
        "Predicted": shown["predicted"],
        "Confidence": shown["confidence"].map(percent),
        "Cause": shown["cause"].map(CAUSE_NAMES),
    }
    return Table("Most confident errors", cells, texts=["Model", "Actual", "Predicted", "Cause"])


def suspects_table(inputs: Inputs) -> Table:
    """Return images whose label the rest of the data contradicts, most suspect first."""
    shown = inputs.suspects.head(SUSPECTS_SHOWN)
    cells = {
        "Image": shown["id"],
        "Split": shown["split"].map(SPLIT_NAMES),
        "Label": shown["class"],
        "Looks like": shown["suggested"],
        "Label quality, 0 to 1": shown["quality"].map(decimal),
    }
    caption = f"Labels to check, {len(shown)} of {count(len(inputs.suspects))}"
    return Table(caption, cells, texts=["Split", "Label", "Looks like"])
