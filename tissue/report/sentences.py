"""Sentences on the results, made from the measured numbers only."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tissue.common.names import MODEL_NAMES, MODELS, donor_status, numbered
from tissue.metrics.calibration import KEPT, is_calibrated
from tissue.metrics.overlap import STATISTICS, overlap_direction, two_sided_p_value
from tissue.metrics.paired import is_beyond_chance
from tissue.report.data import group_word, groups_sentence
from tissue.report.formatting import (
    count,
    interval,
    join_words,
    p_value,
    percent,
    percentage_points,
    points,
    rounded,
)
from tissue.report.reading import Inputs

VERDICTS = {
    "apart": "The test images differ from the training images more than in random splits",
    "closer": "The test images are closer to the training images than in random splits",
    "same": "The test images are not shown to differ from training more than in random splits",
    "unknown": "Whether the test images differ from the training images more than in a random "
    "split is unknown, since no class has donors in both that could be exchanged",
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
        f"{accuracy_sentence(inputs)} {difference_sentence(inputs)}",
        *baseline_sentences(inputs),
        confusion_sentence(inputs.tested(best), MODEL_NAMES[best]),
        overlap_verdict(inputs.metrics["tsne"], split),
        *([groups_sentence(split)] if unknown else []),
    ]


def accuracy_sentence(inputs: Inputs) -> str:
    """Return the accuracy of both models on the test images."""
    best, other = models_by_accuracy(inputs)
    first, second = (inputs.metrics[model]["test"] for model in (best, other))
    groups = inputs.metrics["comparison"]["test"]["donors"]
    of_groups = f" of {numbered(groups, group_word(inputs))}" if groups < first["n"] else ""
    return (
        f"The {MODEL_NAMES[best]} classifies {percent(first['accuracy'])} of "
        f"{numbered(first['n'], 'test image')}{of_groups} correctly "
        f"(95% interval {_accuracy_interval(first)}). The {MODEL_NAMES[other]} reaches "
        f"{percent(second['accuracy'])} ({_accuracy_interval(second)})."
    )


def baseline_sentences(inputs: Inputs) -> list[str]:
    """Return a warning for the models not shown to beat the most frequent class, else nothing."""
    test = inputs.index["test"]["class"]
    baseline = test.value_counts().max() / len(test)
    weak = [
        f"the {MODEL_NAMES[model]}"
        for model in models_by_accuracy(inputs)
        if inputs.metrics[model]["test"]["accuracy_low"] <= baseline
    ]
    if not weak:
        return []
    names = join_words(weak)
    return [
        f"{names[0].upper()}{names[1:]} {'is' if len(weak) == 1 else 'are'} not shown to be better "
        f"than always answering the most frequent class ({percent(baseline)})."
    ]


def _accuracy_interval(test: Mapping[str, Any]) -> str:
    return interval(test["accuracy_low"], test["accuracy_high"])


def difference_sentence(inputs: Inputs) -> str:
    """Return the difference of both accuracies in points, and whether the paired test finds it."""
    paired = inputs.metrics["comparison"]["test"]
    low, high = paired["difference_low"], paired["difference_high"]
    judged = "is" if is_beyond_chance(low, high, paired["p_value"]) else "is not"
    return (
        f"{MODEL_NAMES['pretrained'].capitalize()} minus {MODEL_NAMES['scratch']} is "
        f"{percentage_points(paired['difference'])} points (95% interval "
        f"{interval(low, high, percentage_points)}). This {judged} statistically significant "
        f"(sign flips by {group_word(inputs)}, {p_value(paired['p_value'])})."
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
        wrong = tested[tested["class"] != tested["predicted"]].iloc[0]
        return f"The {name} makes one error: it takes {wrong['class']} for {wrong['predicted']}."
    if not leading:
        return f"The {name} makes {errors:,} errors, each between a different pair of classes."
    if len(leading) == 1:
        one, two, number = leading[0]
        return (
            f"The {name} makes {errors:,} errors. It most often confuses {one} with {two} "
            f"({number:,} of {errors:,})."
        )
    named = join_words([f"{one} with {two} ({number})" for one, two, number in leading])
    together = sum(number for *_, number in leading)
    rest = "" if together == errors else f", together {together:,} of the {errors:,}"
    return f"The {name} makes {errors:,} errors. It most often confuses {named}{rest}."


def overlap_of(tsne: Mapping[str, Any], space: str) -> dict[str, dict[str, float]]:
    """Return the three statistics of a space, from the content of metrics/tsne.json."""
    return {name: tsne[name][space] for name in STATISTICS}


def overlap_verdict(tsne: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    """Return whether the test images differ from training more than in a random split."""
    measured = overlap_of(tsne, "features")
    found = overlap_direction(measured)
    p = "" if found == "unknown" else f" ({p_value(two_sided_p_value(measured))})"
    return f"{VERDICTS[found]}{p}{_reason_closer(split) if found == 'closer' else ''}."


def _reason_closer(split: Mapping[str, Any]) -> str:
    copies = split["leaks"]["images"] or split["duplicates"]["across_splits"]
    return (
        "; copies or donors in both, see the checks of the data, can cause this"
        if copies
        else "; no copies in both were found, but shared slides or antibodies can cause this"
    )


def overlap_sentences(inputs: Inputs) -> str:
    """Return what was compared with random splits, of how many images, and what p can be."""
    tsne, drawn = inputs.metrics["tsne"], inputs.points["split"].value_counts()
    measured, splits = overlap_of(tsne, "features"), tsne["random_splits"]
    least = 2 * len(STATISTICS) / (1 + splits)
    return (
        f"{count(drawn['test'])} test and {count(drawn['train'])} training images are compared. "
        f"Among the {tsne['neighbours']} nearest neighbours of a test image, mixing with training "
        f"is {_against_random(measured['mixing'])}. A classifier separates test from training with "
        f"an area under the ROC curve of {_against_random(measured['two_sample'])}. All three "
        f"statistics, corrected for their number, give {p_value(two_sided_p_value(measured))}. "
        f"{count(splits)} random splits cannot give less than {least:.3f}."
    )


def _against_random(measured: Mapping[str, float]) -> str:
    between = interval(measured["random_low"], measured["random_high"], rounded)
    return f"{rounded(measured['real'])} (95% of random splits: {between})"


def calibration_sentence(inputs: Inputs, model: str) -> str:
    """Return whether the probabilities of a model are calibrated, beside what chance gives."""
    test = inputs.metrics[model]["test"]
    by_chance = interval(test["ece_chance_low"], test["ece_chance_high"], points)
    error, low, high = (test[f"rms_calibration_error{end}"] for end in ("", "_low", "_high"))
    judged = (
        "No miscalibration is shown"
        if is_calibrated(test)
        else "The confidences are not calibrated on these images"
    )
    return (
        f"The {MODEL_NAMES[model]}'s confidences miss its accuracy by {points(test['ece'])} points "
        f"on average over bins (ECE, n = {count(test['n'])}). By chance, a calibrated model would "
        f"miss it by {points(test['ece_chance'])} points (95% of the time by {by_chance}). "
        f"{judged} ({p_value(test['ece_p_value'])}). Corrected for chance, the error is "
        f"{points(error)} points (root mean square; 95% interval "
        f"{interval(low, high, points)})."
    )


def coverage_sentence(inputs: Inputs) -> str:
    """Return the error rate where the better model leaves its least confident images to a human."""
    best = models_by_accuracy(inputs)[0]
    test, validation = inputs.metrics[best]["test"], len(inputs.index["val"])
    answered, wrong = test["answered"], inputs.tested(best).eval("`class` != predicted").sum()
    every = interval(1 - test["accuracy_high"], 1 - test["accuracy_low"])
    said = (
        f"{KEPT:.0%} of the {count(validation)} validation images reach a confidence of "
        f"{percent(answered['threshold'])}. From there on, the {MODEL_NAMES[best]} answers "
        f"{count(answered['n'])} of {count(test['n'])} test images and leaves the rest to a human."
    )
    if not answered["n"]:
        return said
    return (
        f"{said} It errs in {count(answered['errors'])} of these ({percent(answered['error'])}, "
        f"95% interval {interval(answered['error_low'], answered['error_high'])}). Of all images "
        f"it errs in {count(wrong)} ({percent(1 - test['accuracy'])}, {every})."
    )
