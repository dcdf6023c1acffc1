"""Sentences on the images of this run: their groups, and what test shares with training."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tissue.common.names import CLUSTERS, DONORS, POSITIONS, SLIDES, donor_status
from tissue.report.formatting import count
from tissue.report.reading import Inputs

WORDS = {DONORS: "donor", POSITIONS: "array position", CLUSTERS: "cluster", SLIDES: "slide"}


def group_word(inputs: Inputs) -> str:
    """Return what the rule of `split` keeps together: a donor, array position, cluster or group."""
    return WORDS.get(inputs.metrics["split"]["group_rule"], "group")


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
                f"{count(found.sum())} share their {column} ({count(known[found].nunique())} of "
                f"{count(known.nunique())} {several}) with training or validation."
            )
    if not said:
        return ""
    ending = " How the models do on new ones is not measured." if shared else ""
    return f"Of the {count(len(test))} test images, {' '.join(said)}{ending}"
