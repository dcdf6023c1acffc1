"""The sentences of the verdict, made from the measured numbers only."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from stages.metrics.significance import is_beyond_chance
from stages.models.names import MODELS
from stages.page.numbers import count, p_value, percent, points
from stages.page.overlap import overlap_verdict
from stages.page.reading import Inputs

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


def verdict(inputs: Inputs) -> list[str]:
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
    between = f"95% interval {points(ends[0])} to {points(ends[1])}"
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
