"""The sentences of the verdict, made from the measured numbers only."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tissue.common.names import CLUSTERS, MODELS
from tissue.metrics.intervals import is_beyond_chance
from tissue.metrics.overlap import STATISTICS, joint_p_value, overlap_direction
from tissue.report.formatting import Table, count, p_value, percent, percentage_points
from tissue.report.reading import Inputs

MODEL_NAMES = {"scratch": "CNN from scratch", "pretrained": "pretrained net"}


def join_words(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def interval_text(metrics: dict[str, Any], key: str) -> str:
    """`80.3% to 88.6%`, or nothing where no interval was measured."""
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def best_model(inputs: Inputs) -> str:
    """The model with the higher test accuracy; at a tie the smaller one, from scratch."""
    return max(MODELS, key=lambda model: inputs.metrics[model]["test"]["accuracy"])


def verdict_sentences(inputs: Inputs) -> list[str]:
    """Three sentences: which model is better, what it confuses, whether train and test differ."""
    best, metrics = best_model(inputs), inputs.metrics
    return [
        accuracy_sentence(inputs, best),
        confusion_sentence(inputs.tested(best), MODEL_NAMES[best]),
        overlap_verdict(metrics["tsne"], metrics["split"]),
    ]


def accuracy_sentence(inputs: Inputs, best: str) -> str:
    """Accuracy of both with intervals, and what the paired test says of their difference."""
    other = next(model for model in MODELS if model != best)
    first, second = (inputs.metrics[model]["test"] for model in (best, other))
    sentence = (
        f"The {MODEL_NAMES[best]} names the right class for {_stated(first, '95% interval ')} of "
        f"{count(first['n'])} test images, the {MODEL_NAMES[other]} for {_stated(second, '')}"
    )
    paired = inputs.metrics["comparison"]["test"]
    gap = f"{100 * (first['accuracy'] - second['accuracy']):.1f} points"
    low, high = paired["difference_low"], paired["difference_high"]
    sure = is_beyond_chance(low, high, paired["p_value"])
    judged = "is more than chance" if sure else "could be chance"
    ends = (low, high) if best == "pretrained" else (-high, -low)
    between = f"95% interval {percentage_points(ends[0])} to {percentage_points(ends[1])}"
    return (
        f"{sentence}; the gap of {gap} ({between}; McNemar, {p_value(paired['p_value'])}) {judged}."
    )


def _stated(test: dict[str, Any], before: str) -> str:
    """`84.7% (95% interval 80.3% to 88.6%)`."""
    between = interval_text(test, "accuracy")
    return percent(test["accuracy"]) + (f" ({before}{between})" if between else "")


def confused_pairs(tested: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Pairs of classes taken for each other, in either direction, most frequent first."""
    wrong = tested[tested["class"] != tested["predicted"]]
    pairs = pd.Series(
        [tuple(sorted(pair)) for pair in zip(wrong["class"], wrong["predicted"], strict=True)],
        dtype=object,
    )
    counts = sorted(pairs.value_counts().items(), key=lambda item: (-item[1], item[0]))
    return [(one, two, int(number)) for (one, two), number in counts]


def confusion_sentence(tested: pd.DataFrame, name: str) -> str:
    """Up to three pairs that lead the errors, and their share of all errors."""
    pairs = confused_pairs(tested)
    errors = sum(number for *_, number in pairs)
    if not errors:
        return f"The {name} makes no error on them."
    leading = [pair for pair in pairs[:3] if pair[2] > 1]
    if not leading:
        one, two, _ = pairs[0]
        if errors == 1:
            return f"The one error of the {name} is {one} with {two}."
        return f"The {errors:,} errors of the {name} are each of another pair of classes."
    named = join_words([f"{one} with {two} ({number})" for one, two, number in leading])
    share = percent(sum(number for *_, number in leading) / errors)
    return f"The {errors:,} errors of the {name} are led by {named}: together {share} of them."


SPACES = {"features": "pretrained features", "pixels": "raw pixels"}
NAMES = {
    "mixing": "Mixing of nearest neighbours (1: as chance mixes)",
    "two_sample": "Classifier that tells test from training (area under ROC)",
    "frechet": "Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance",
}
VERDICTS = {
    "apart": "The test images differ from training by more than a random split",
    "closer": "The test images lie closer to training than 97.5% of random splits put them: copies "
    "on both sides do that, and so does chance, one time in forty",
    "same": "The test images differ from training by no more than a random split",
    "unknown": "Whether the test images differ from training by more than a random split cannot be "
    "told, since no class has donors on both sides that could change places",
}


def overlap_of(tsne: Mapping[str, Any], space: str) -> dict[str, dict[str, float]]:
    """Return the three figures of a space, from the content of metrics/tsne.json."""
    return {figure: tsne[figure][space] for figure in STATISTICS}


def overlap_verdict(tsne: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    """Whether the test images differ from training by more than a random split, in a sentence."""
    measured = overlap_of(tsne, "features")
    found, shared_groups = overlap_direction(measured), split["groups"]["shared"]
    mixing, two_sample = measured["mixing"], measured["two_sample"]
    groups = {0: "no group of images is", 1: "one group of images is"}.get(
        shared_groups, f"{shared_groups:,} groups of images are"
    )
    # It is of lying farther apart, and says nothing of lying closer.
    joint = f" (all three figures below together: {p_value(joint_p_value(measured))})"
    told = (
        f"{VERDICTS[found]}; counted over the {tsne['neighbours']} nearest neighbours "
        f"of each test image, mixing with training is {_beside_random(mixing)}, and a classifier "
        f"tells them apart with an area under the ROC curve of {_beside_random(two_sample)}"
        f"{joint if found in ('apart', 'same') else ''}; {groups} shared between the parts."
    )
    if split.get("group_rule") == CLUSTERS:
        told += (
            " Donors are not known: groups are copies of one picture, one patient may stand in "
            "several parts, and the intervals are then too narrow."
        )
    return told


def overlap_table(tsne: Mapping[str, Any]) -> Table:
    """The three figures of both spaces, beside random splits."""
    rows = []
    for space, name in SPACES.items():
        if space not in tsne["mixing"]:
            continue
        for figure, measured in overlap_of(tsne, space).items():
            rows.append(
                [
                    f"{NAMES[figure]}, {name}",
                    f"{measured['real']:.2f}",
                    f"{measured['random_mean']:.2f}",
                    f"{measured['random_low']:.2f} to {measured['random_high']:.2f}",
                    p_value(measured["p_value"])[2:].removeprefix("=").strip(),
                ]
            )
    head = ["Figure", "This split", "Random splits", "Middle 95% of them", "p (farther apart)"]
    return Table("How far the test images lie from training images", head, rows)


def _beside_random(measured: Mapping[str, float]) -> str:
    low, high = measured["random_low"], measured["random_high"]
    return f"{measured['real']:.2f} (random splits: {low:.2f} to {high:.2f})"
