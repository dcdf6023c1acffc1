"""Checks that stop `split` before a model is trained on too little."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.common.holdout import missing_classes
from tissue.config.schema import Split


def check_counts(
    index: pd.DataFrame, minimum: int, classes: Iterable[str], rejected: pd.DataFrame | None = None
) -> None:
    """Raise an `InputError` if one of the classes has fewer images than `minimum`.

    Args:
        index: a row an image.
        minimum: of every class.
        classes: all of them.
        rejected: images that cannot be used, with the columns id and reason, to be told of.
    """
    counts = index["class"].value_counts().reindex(sorted(classes), fill_value=0)
    few = counts[counts < minimum]
    if len(few):
        found = ", ".join(f"{name} {count}" for name, count in few.items())
        if rejected is not None and len(rejected):
            found += f"; {len(rejected)} images cannot be used, e.g. {_examples(rejected)}"
        raise InputError(
            f"split.min_per_class: expected {minimum} images or more of every class. Received: "
            f"{found}. Add images, take the class out, or lower split.min_per_class in params.yaml."
        )


def check_training(index: pd.DataFrame) -> None:
    """Raise an `InputError` if a class has no image in training, by the column `part`."""
    missing = missing_classes(index, (index["part"] == "train").to_numpy())
    if missing:
        raise InputError(
            "split: expected training images of every class. Received: none of "
            f"{', '.join(missing)}. Is the folder called otherwise in train/ than in test/? Else "
            "add images of it, or take the class out of the test set."
        )


def select_usable(
    manifest: pd.DataFrame, table: pd.DataFrame, settings: Split
) -> tuple[pd.DataFrame, NDArray[np.int64], pd.DataFrame]:
    """Return the index of all usable images, their row numbers, and the rejected ones.

    Args:
        manifest: one row per image.
        table: what was read of it; `reason` says why an image cannot be used.
        settings: how many may be rejected, and how many every class needs.

    Raises:
        InputError: if too many are rejected or too few are left of a class.
    """
    unusable = table["reason"] != ""
    rejected = manifest[["id"]].join(table["reason"])[unusable]
    check_rejected(rejected, len(manifest), settings.max_rejected)
    usable = np.flatnonzero(~unusable)
    index = manifest.join(table).iloc[usable].reset_index(drop=True)
    check_counts(index, settings.min_per_class, set(manifest["class"]), rejected)
    return index, usable, rejected


def check_rejected(rejected: pd.DataFrame, count: int, most: float) -> None:
    """Raise an `InputError` if more than the share `most` of `count` images was rejected."""
    if len(rejected) > most * count:
        raise InputError(
            f"data/raw: expected at most {most:.0%} unreadable images (split.max_rejected). "
            f"Received: {len(rejected)} of {count}, e.g. {_examples(rejected)}. Repair or remove "
            "them."
        )


def _examples(rejected: pd.DataFrame) -> str:
    return "; ".join(f"{row.id}: {row.reason}" for row in rejected.head(3).itertuples())
