"""Tables and sentences on the errors: what explains them, and how far confidence tells them."""

from dataclasses import dataclass

import numpy as np

from tissue.common.names import MODELS
from tissue.report.formatting import PART_NAMES, Table, count, decimal, percent
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES
from tissue.report.result_tables import test_counts
from tissue.report.sentences import MODEL_NAMES, best_model

KEPT = 0.8  # share of the test images that the sentence on risk and coverage keeps
SUREST = 12  # errors in the table for readers without a script
SUSPECTS = 20  # images in the table of suspect labels


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix to be set as a table: counts int64 (K, K), a row for each true class."""

    model: str
    name: str
    classes: list[str]
    counts: np.ndarray

    @property
    def rows(self) -> list[tuple[str, int, list[tuple[int, float, bool]]]]:
        """Of each class: its name, its images, and of each cell count, share and if it is right."""
        totals = self.counts.sum(axis=1)
        return [
            (
                name,
                int(total),
                [(int(n), float(n / max(total, 1)), i == j) for j, n in enumerate(self.counts[i])],
            )
            for i, (name, total) in enumerate(zip(self.classes, totals, strict=True))
        ]


def matrices(inputs: Inputs) -> list[Matrix]:
    """Both models, the better one first."""
    best = best_model(inputs)
    return [
        Matrix(model, MODEL_NAMES[model], inputs.classes, test_counts(inputs, model))
        for model in sorted(MODELS, key=lambda model: model != best)
    ]


def cause_names(inputs: Inputs) -> dict[str, str]:
    """The causes that were looked for; which classes are confusable, only the atlas tells."""
    found = inputs.metrics["errors"][MODELS[0]]["causes"]
    return {cause: name for cause, name in CAUSE_NAMES.items() if cause in found}


def causes_table(inputs: Inputs) -> Table:
    """The share of the errors of each model that each cause explains, with its interval."""
    measured = inputs.metrics["errors"]
    head = ["Cause"]
    for model in MODELS:
        head += [f"{MODEL_NAMES[model]}, errors", "share (95% interval)", "of correct answers"]
    rows = []
    for cause, name in cause_names(inputs).items():
        row = [name]
        for model in MODELS:
            one = measured[model]["causes"][cause]
            row.append(count(one["errors"]))
            row.append(f"{percent(one['share'])} ({percent(one['low'])} to {percent(one['high'])})")
            # An answer that is right confuses no pair: its share there would say nothing.
            row.append("n/a" if cause == "confusable_pair" else percent(one["correct_share"]))
        rows.append(row)
    caption = (
        "What explains the errors, one cause each; beside it, how often the same is found where "
        "the model is right"
    )
    return Table(caption, head, rows)


def surest_errors_table(inputs: Inputs) -> Table | None:
    """The errors made with most confidence, if there is any error."""
    errors = inputs.errors.sort_values(["confidence", "model", "id"], ascending=[False, True, True])
    if errors.empty:
        return None
    rows = [
        [
            row["id"],
            MODEL_NAMES[row["model"]],
            row["class"],
            row["predicted"],
            percent(row["confidence"]),
            CAUSE_NAMES[row["cause"]],
        ]
        for row in errors.head(SUREST).to_dict("records")
    ]
    head = ["Image", "Model", "Actual", "Taken for", "Confidence", "Cause"]
    return Table("The surest errors", head, rows, texts=(1, 2, 3, 5))


def suspects_table(inputs: Inputs) -> Table | None:
    """Images whose label the rest of the data contradicts, if there is any; most suspect first."""
    suspects = inputs.suspects.head(SUSPECTS)
    if suspects.empty:
        return None
    rows = [
        [
            row["id"],
            PART_NAMES[row["split"]],
            row["class"],
            row["suggested"],
            decimal(row["quality"]),
        ]
        for row in suspects.to_dict("records")
    ]
    caption = f"Labels worth a second look, {len(suspects)} of {count(len(inputs.suspects))}"
    head = ["Image", "Part", "Label", "Looks like", "Label quality, 0 to 1"]
    return Table(caption, head, rows, texts=(1, 2, 3))


def coverage_sentence(inputs: Inputs) -> str:
    """What is gained where the better model leaves the images it is least sure of to a human."""
    best = best_model(inputs)
    curve = inputs.risk_coverage[best]
    kept, every = curve[curve["coverage"] >= KEPT - 1e-9].iloc[0], curve.iloc[-1]
    return (
        f"If the {MODEL_NAMES[best]} answers only the {percent(kept['coverage'])} of test images "
        f"it is surest of and leaves the others to a human, {percent(kept['error'])} of its "
        f"answers are wrong instead of {percent(every['error'])}."
    )
