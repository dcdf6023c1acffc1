"""Sentences on the images of this run: their groups, and what they give away or allow."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tissue.common.names import DONORS, POSITIONS, donor_status
from tissue.phantom.latents import LATENTS, best_accuracy, partner
from tissue.report.formatting import count, interval, join_words, percent
from tissue.report.reading import Inputs


def groups_sentence(split: Mapping[str, Any]) -> str:
    """Return which groups the splits keep together, and what is known of donors.

    Args:
        split: the content of metrics/split.json.
    """
    rule, shared = split["group_rule"], split["groups"]["shared"]
    groups = {0: "No group is", 1: "One group is"}.get(shared, f"{shared:,} groups are")
    if donor_status(rule) == "as given":
        return (
            f"Images are grouped by split.{rule}, and groups are taken as donors. {groups} in "
            "several splits."
        )
    if rule == DONORS:
        return f"Images are grouped by donor, as the source names them. {groups} in several splits."
    if rule != POSITIONS:
        return (
            f"Donors are not known. Images are grouped by {rule}, so a donor may be in several "
            f"splits, and intervals are too narrow. {groups} in several splits."
        )
    possible = split["leaks"]["possible"]
    given = f"of the given test set, up to {possible:,} training images may share a donor"
    return (
        f"Donors are not known. Images are grouped by {rule}: those of a class at one position "
        "stay together, which may join donors but divides none of them between splits that are "
        f"made here; {given if possible else 'the test set is one of these'}."
    )


def measures_sentence(inputs: Inputs) -> str:
    """Return what tissue, blur and stain give away of the class without any architecture."""
    alone = inputs.metrics["errors"]["measures_alone"]
    return (
        "Four numbers of each image, tissue fraction, blur and the mean haematoxylin and DAB, give "
        f"the class of {percent(alone['share'])} (95% interval "
        f"{interval(alone['low'], alone['high'])}) of the {count(alone['n'])} training and "
        f"validation images, cross-validated by group; chance is {percent(alone['chance'])}."
    )


def shared_sentence(inputs: Inputs) -> str:
    """Return how many test images share a slide or antibody with training; empty if not known."""
    test = inputs.index["test"]
    fitted = pd.concat([inputs.index["train"], inputs.index["val"]])
    said, shared = [], False
    for column, several in (("slide", "slides"), ("antibody", "antibodies")):
        known = test.loc[test[column] != "", column]
        if len(known):
            found = known.isin(fitted[column])
            shared |= bool(found.any())
            said.append(
                f"{percent(found.mean())} share their {column} ({count(known[found].nunique())} of "
                f"{count(known.nunique())} {several})"
            )
    if not said:
        return ""
    ending = ": how the models do on new ones is not measured" if shared else ""
    return f"Of the test images, {join_words(said)} with training or validation{ending}."


def ceiling_sentence(inputs: Inputs) -> str:
    """Return the accuracy that the phantom allows on this test set, by its overlapping classes."""
    counts = inputs.index["test"]["class"].value_counts().to_dict()
    best, number = best_accuracy(counts), sum(counts.values())
    pairs = sorted({tuple(sorted((name, partner(name)))) for name in LATENTS if name in counts})
    named = join_words(
        [f"{one} and {two} {percent(best_accuracy({one: 1, two: 1}))}" for one, two in pairs]
    )
    return (
        f"A classifier that knew how each core was drawn would be right in {percent(best)} of "
        f"these images on average ({named}; the other classes 100%), since these pairs are drawn "
        f"to overlap. So about {(1 - best) * number:.0f} errors in {count(number)} images are to "
        "be expected of any model that sees one image at a time."
    )
