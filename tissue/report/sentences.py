"""Sentences on the results, made from the measured numbers only."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tissue.common.names import MODEL_NAMES, MODELS, donor_status
from tissue.error_analysis.table import CAUSES, is_more_frequent
from tissue.metrics.calibration import is_calibrated
from tissue.metrics.overlap import STATISTICS, overlap_direction, two_sided_p_value
from tissue.metrics.paired import is_beyond_chance
from tissue.report.data_sentences import groups_sentence
from tissue.report.formatting import (
    count,
    interval,
    join_words,
    p_value,
    percent,
    percentage_points,
)
from tissue.report.reading import Inputs
from tissue.report.records import CAUSE_NAMES

KEPT = 0.8  # share of the test images that the sentence on risk and coverage keeps
VERDICTS = {
    "apart": "The test images differ from the training images more than in a random split.",
    "closer": "The test images are closer to the training images than in random splits",
    "same": "The test images differ from the training images no more than in a random split.",
    "unknown": "Whether the test images differ from the training images more than in a random "
    "split is unknown, since no class has donors in both that could be exchanged.",
}


def penalty_sentence(inputs: Inputs) -> str:
    """Return what cross-validation says about the penalty of the head."""
    table = inputs.penalties
    best = table.loc[table["val_loss"].idxmin()]
    return (
        f"Loss and accuracy of the pretrained head by penalty. With {best['penalty']:g}, the "
        f"lowest loss on held-out folds, it is right on {percent(best['accuracy'])} of the images "
        f"that it is fitted to and on {percent(best['val_accuracy'])} of those held out."
    )


def models_by_accuracy(inputs: Inputs) -> list[str]:
    """Return the models by test accuracy, the better one first; at a tie the smaller one."""
    return sorted(MODELS, key=lambda model: -inputs.metrics[model]["test"]["accuracy"])


def verdict_sentences(inputs: Inputs) -> list[str]:
    """Return which model is better, what it confuses, and whether training and test differ.

    If donors are not known, the last sentence says so.
    """
    best, split = models_by_accuracy(inputs)[0], inputs.metrics["split"]
    unknown = donor_status(split["group_rule"]) == "not known"
    return [
        accuracy_sentence(inputs),
        confusion_sentence(inputs.tested(best), MODEL_NAMES[best]),
        overlap_verdict(inputs.metrics["tsne"], inputs.metrics["split"]),
        *([groups_sentence(split)] if unknown else []),
    ]


def accuracy_sentence(inputs: Inputs) -> str:
    """Return the accuracy of both models, and whether the paired test finds a difference."""
    best, other = models_by_accuracy(inputs)
    first, second = (inputs.metrics[model]["test"] for model in (best, other))
    paired = inputs.metrics["comparison"]["test"]
    low, high = paired["difference_low"], paired["difference_high"]
    judged = "is" if is_beyond_chance(low, high, paired["p_value"]) else "is not"
    return (
        f"The {MODEL_NAMES[best]} classifies {percent(first['accuracy'])} "
        f"(95% interval {_accuracy_interval(first)}) of {count(first['n'])} test images correctly, "
        f"the {MODEL_NAMES[other]} {percent(second['accuracy'])} ({_accuracy_interval(second)}); "
        f"{accuracy_difference(inputs)}, which {judged} statistically significant."
    )


def _accuracy_interval(test: Mapping[str, Any]) -> str:
    return interval(test["accuracy_low"], test["accuracy_high"])


def accuracy_difference(inputs: Inputs) -> str:
    """Return the difference of both accuracies in points, everywhere in one direction."""
    paired = inputs.metrics["comparison"]["test"]
    bounds = interval(paired["difference_low"], paired["difference_high"], percentage_points)
    groups = inputs.metrics["split"]["group_rule"]
    return (
        f"{MODEL_NAMES['pretrained']} minus {MODEL_NAMES['scratch']} is "
        f"{percentage_points(paired['difference'])} points (95% interval {bounds}; sign flips by "
        f"{groups}, {p_value(paired['p_value'])})"
    )


def confused_pairs(tested: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return pairs of classes confused in either direction and how often, most frequent first."""
    wrong = tested[tested["class"] != tested["predicted"]]
    pairs = pd.Series(
        [tuple(sorted(pair)) for pair in zip(wrong["class"], wrong["predicted"], strict=True)],
        dtype=object,
    )
    counts = sorted(pairs.value_counts().items(), key=lambda item: (-item[1], item[0]))
    return [(one, two, int(number)) for (one, two), number in counts]


def confusion_sentence(tested: pd.DataFrame, name: str) -> str:
    """Return up to three pairs that a model confuses most, and their share of all errors."""
    pairs = confused_pairs(tested)
    errors = sum(number for *_, number in pairs)
    leading = [pair for pair in pairs[:3] if pair[2] > 1]
    if not errors:
        return f"The {name} makes no errors."
    if errors == 1:
        return f"The {name} makes one error: it confuses {pairs[0][0]} with {pairs[0][1]}."
    if not leading:
        return f"The {name} makes {errors:,} errors, each between a different pair of classes."
    named = join_words([f"{one} with {two} ({number})" for one, two, number in leading])
    share = percent(sum(number for *_, number in leading) / errors)
    return (
        f"The {name} makes {errors:,} errors and most often confuses {named}, together {share} "
        "of all errors."
    )


def overlap_of(tsne: Mapping[str, Any], space: str) -> dict[str, dict[str, float]]:
    """Return the three statistics of a space, from the content of metrics/tsne.json."""
    return {name: tsne[name][space] for name in STATISTICS}


def overlap_verdict(tsne: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    """Return whether the test images differ from training more than in a random split."""
    measured = overlap_of(tsne, "features")
    found = overlap_direction(measured)
    p = f"; all three statistics below together give {p_value(two_sided_p_value(measured))}"
    verdict = VERDICTS[found] + (_reason_closer(split) if found == "closer" else "")
    return (
        f"{verdict} Mixing with training among the {tsne['neighbours']} nearest "
        f"neighbours of each test image is {_against_random(measured['mixing'])}, and a "
        "classifier separates test from training with an area under the ROC curve of "
        f"{_against_random(measured['two_sample'])}{p if found != 'unknown' else ''}."
    )


def _reason_closer(split: Mapping[str, Any]) -> str:
    copies = split["leaks"]["images"] or split["duplicates"]["across_splits"]
    return (
        "; copies or donors in both, see the checks of the data, cause this."
        if copies
        else "; no copies in both were found, but shared slides or antibodies can cause this."
    )


def calibration_sentence(inputs: Inputs, model: str) -> str:
    """Return whether the probabilities of a model are calibrated, beside what chance gives."""
    test = inputs.metrics[model]["test"]
    by_chance = interval(test["ece_chance_low"], test["ece_chance_high"])
    judged = (
        "so nothing speaks against calibrated probabilities"
        if is_calibrated(test)
        else "so they are not calibrated on these images"
    )
    return (
        f"The {MODEL_NAMES[model]}'s confidences miss its accuracy by {percent(test['ece'])} on "
        f"average over bins (n = {count(test['n'])}); a calibrated model would by "
        f"{percent(test['ece_chance'])} (95% of the time {by_chance}; "
        f"{p_value(test['ece_p_value'])}), {judged}."
    )


def _against_random(measured: Mapping[str, float]) -> str:
    between = interval(measured["random_low"], measured["random_high"], "{:.2f}".format)
    return f"{measured['real']:.2f} (random splits: {between})"


def coverage_sentence(inputs: Inputs) -> str:
    """Return the error rate where the better model leaves its least confident images to a human."""
    best = models_by_accuracy(inputs)[0]
    curve = inputs.risk_coverage[best]
    kept, every = curve[curve["coverage"] >= KEPT - 1e-9].iloc[0], curve.iloc[-1]
    return (
        f"If the {MODEL_NAMES[best]} answers only the {percent(kept['coverage'])} of test images "
        f"with the highest confidence and leaves the rest to a human, its error rate is "
        f"{percent(kept['error'])} instead of {percent(every['error'])}."
    )


def cause_sentences(inputs: Inputs) -> list[str]:
    """Return for each model which causes tell errors from correct predictions."""
    return [_cause_sentence(inputs.metrics["errors"][model], model) for model in MODELS]


def _cause_sentence(errors: Mapping[str, Any], model: str) -> str:
    frequent, others = list[str](), list[str]()
    for cause in CAUSES:
        more = is_more_frequent(errors["causes"][cause])
        (frequent if more else others).append(CAUSE_NAMES[cause])
    name = MODEL_NAMES[model]
    said = f"With the {name}, no cause is" if not frequent else f"With the {name}, "
    said += join_words(frequent) + (" is" if len(frequent) == 1 else " are" if frequent else "")
    said += " more frequent among errors than among correct predictions"
    if frequent and others:
        said += f"; {join_words(others)} {'is' if len(others) == 1 else 'are'} not shown to be"
    within = errors.get("within_systems")
    if not within or not errors["errors"]:
        return f"{said}."
    return (
        f"{said}. {within['errors']:,} of its {errors['errors']:,} errors "
        f"({percent(within['share'])}, 95% interval {interval(within['low'], within['high'])}) are "
        "between classes of one organ system, where evenly spread errors would have "
        f"{percent(within['expected'])}: that says which classes are confused, not why."
    )
