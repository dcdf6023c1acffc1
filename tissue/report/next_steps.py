"""What to do next: each step rests on a number of this run, and is left out where that is fine."""

from collections.abc import Callable

from tissue.common.names import CLUSTERS, MODEL_NAMES, SINGLES, donor_status
from tissue.data.index import unequal_classes
from tissue.error_analysis.table import CAUSES, is_more_frequent
from tissue.report.data import group_word
from tissue.report.formatting import count, interval, join_words, percent, percentage_points
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES
from tissue.report.sentences import models_by_accuracy
from tissue.report.why import HELP

WIDE = 0.2  # an interval of the test accuracy as wide as this says little
IMAGE = "image"
FEW_ERRORS = 5  # of one cause; fewer are looked at one by one, as confusions of fewer have no card
FULL = 0.995  # where more donors or fewer errors of one cause cannot help


def next_steps(inputs: Inputs) -> list[str]:
    """Return what would help most, what makes the numbers doubtful first."""
    found = (step(inputs) for step in STEPS)
    return [one for one in found if one]


def _noun(inputs: Inputs) -> str:
    """Return what to collect more of: the groups, or images where nobody knows their donors."""
    unknown = inputs.metrics["split"]["group_rule"] in (CLUSTERS, SINGLES)
    return IMAGE if unknown else group_word(inputs)


def _name_donors(inputs: Inputs) -> str:
    if inputs.is_phantom or donor_status(inputs.metrics["split"]["group_rule"]) != "not known":
        return ""
    return (
        "Name the donors with split.metadata or split.group_pattern in params.yaml. Without them, "
        "images of one donor may be in training and test, and then the accuracy is too high."
    )


def _test_more_donors(inputs: Inputs) -> str:
    best = models_by_accuracy(inputs)[0]
    test, audit = inputs.metrics[best]["test"], inputs.metrics["audit"]
    if test["accuracy_high"] - test["accuracy_low"] < WIDE:
        return ""
    noun = _noun(inputs)
    number = test["n"] if noun == IMAGE else inputs.metrics["comparison"]["test"]["donors"]
    said = (
        f"Test on more {noun}s: the {count(number)} of the test set leave the accuracy of the "
        f"{MODEL_NAMES[best]} between {percent(test['accuracy_low'])} and "
        f"{percent(test['accuracy_high'])}."
    )
    if noun != IMAGE:
        said += f" More images of the same {noun}s help less."
    if honest := audit.get("accuracy", {}).get("honest"):
        said += (
            f" Until then, a second opinion is the cross-validation over the "
            f"{count(audit['images' if noun == IMAGE else 'groups'])} {noun}s of training and "
            f"validation. There, a linear classifier reaches {percent(honest['accuracy'])} "
            f"({interval(honest['low'], honest['high'])})."
        )
    return said


def _check_shortcuts(inputs: Inputs) -> str:
    audit = inputs.metrics["audit"]
    if "difference" not in audit or audit["difference"]["all_shortcuts"]["high"] < 0:
        return ""
    accuracy = audit["accuracy"]
    return (
        "Check whether the classes were stained, scanned or cut in different ways. Colour, share "
        f"of tissue, blur and size alone give {percent(accuracy['all_shortcuts']['accuracy'])} in "
        "cross-validation. That is not shown to be less than the "
        f"{percent(accuracy['honest']['accuracy'])} of the features."
    )


def _check_files(inputs: Inputs) -> str:
    rejected = inputs.metrics["split"]["rejected"]
    if not rejected:
        return ""
    which = "the image that was" if rejected == 1 else f"the {count(rejected)} images that were"
    return f"Replace {which} rejected: data/split/rejected.csv says why."


def _check_labels(inputs: Inputs) -> str:
    number = len(inputs.suspects)
    if inputs.is_phantom or not number:
        return ""
    which = "the label" if number == 1 else f"the {count(number)} labels"
    return f"Check {which} that the other images contradict, listed below Errors."


def _collect_rare_classes(inputs: Inputs) -> str:
    train = inputs.index["train"]["class"].value_counts().reindex(inputs.classes, fill_value=0)
    if not unequal_classes({"fewest": int(train.min()), "most": int(train.max())}):
        return ""
    rare = train.index[train == train.min()].tolist()
    return (
        f"Collect more images of {join_words(rare)}: training has {count(train.min())}, and "
        f"{count(train.max())} of the most frequent class."
    )


def _mend_causes(inputs: Inputs) -> str:
    best = models_by_accuracy(inputs)[0]
    errors = inputs.metrics["errors"][best]
    more = [cause for cause in CAUSES if is_more_frequent(errors["causes"][cause])]
    if not more:
        return ""
    cause = max(more, key=lambda one: errors["causes"][one]["errors"])
    number = errors["causes"][cause]["errors"]
    if number < FEW_ERRORS:
        return ""
    return (
        f"What may help with {count(number)} of the "
        f"{count(errors['errors'])} errors of the {MODEL_NAMES[best]}: {HELP[cause]}. Their cause "
        f"is \N{LEFT DOUBLE QUOTATION MARK}{CAUSE_NAMES[cause]}\N{RIGHT DOUBLE QUOTATION MARK}, "
        "which is rarer among correct predictions."
    )


def _train_on_more_donors(inputs: Inputs) -> str:
    curve = inputs.metrics["audit"].get("learning_curve")
    best = inputs.metrics[models_by_accuracy(inputs)[0]]["test"]["accuracy"]
    if curve is None or curve["doubled_low"] <= 0 or best > FULL:
        return ""
    return (
        f"Train on more {_noun(inputs)}s. By the learning curve of the audit, twice as many "
        f"of each class would bring {percentage_points(curve['doubled'])} points (95% interval "
        f"{interval(curve['doubled_low'], curve['doubled_high'], percentage_points)})."
    )


STEPS: tuple[Callable[[Inputs], str], ...] = (
    _name_donors, _test_more_donors, _check_shortcuts, _check_files, _check_labels,
    _collect_rare_classes, _mend_causes, _train_on_more_donors,
)  # fmt: skip
