"""The measured overlap of training and test, each number beside that of random splits."""

from collections.abc import Mapping
from typing import Any

from stages.dataset.grouping import CLUSTERS
from stages.metrics.overlap import FIGURES, joint_p_value, verdict
from stages.page.numbers import p_value
from stages.page.tables import Table

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
    return {figure: tsne[figure][space] for figure in FIGURES}


def overlap_verdict(tsne: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    """Whether the test images differ from training by more than a random split, in a sentence."""
    measured = overlap_of(tsne, "features")
    found, shared_groups = verdict(measured), split["groups"]["shared"]
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
