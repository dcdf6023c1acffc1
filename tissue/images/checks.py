"""Checks that stop `split` before a model is trained on too little data."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError
from tissue.config.schema import Split


def check_counts(
    index: pd.DataFrame, minimum: int, classes: Iterable[str], rejected: pd.DataFrame | None = None
) -> None:
    """Raise an `InputError` if a class has fewer images than `minimum`.

    The message gives the `reason` of some rejected images, if there are any.
    """
    counts = index["class"].value_counts().reindex(sorted(classes), fill_value=0)
    few = counts[counts < minimum]
    if len(few):
        found = ", ".join(f"{name} {count}" for name, count in few.items())
        if rejected is not None and len(rejected):
            found += f"; {len(rejected)} images cannot be used, e.g. {_examples(rejected)}"
        raise InputError(
            f"advanced.split.min_per_class: expected {minimum} images or more of every class. "
            f"Received: {found}. Add images, take the class out, or lower this parameter."
        )


def check_training(missing: Sequence[str]) -> None:
    """Raise an `InputError` if classes have no training images."""
    if missing:
        raise InputError(
            "split: expected training images of every class. Received: none of "
            f"{', '.join(missing)}. Check that folders in train/, val/ and test/ have the same "
            "names. Otherwise add images, or take the class out of the test set."
        )


def select_usable(
    manifest: pd.DataFrame, table: pd.DataFrame, settings: Split
) -> tuple[pd.DataFrame, NDArray[np.int64], pd.DataFrame]:
    """Return the index of all usable images, their row numbers, and the rejected images.

    The table has one row for each of the manifest; `reason` says why an image cannot be used.

    Raises:
        InputError: if too many images are rejected, or a class has too few left.
    """
    unusable = table["reason"] != ""
    rejected = manifest[["id"]].join(table["reason"])[unusable]
    if len(rejected) > settings.max_rejected * len(manifest):
        raise InputError(
            f"data/raw: expected at most {settings.max_rejected:.0%} unreadable images "
            f"(advanced.split.max_rejected). Received: {len(rejected)} of {len(manifest)}, e.g. "
            f"{_examples(rejected)}. Repair or remove them."
        )
    usable = np.flatnonzero(~unusable)
    index = manifest.join(table).iloc[usable].reset_index(drop=True)
    check_counts(index, settings.min_per_class, set(manifest["class"]), rejected)
    return index, usable, rejected


def check_leaks(leaked: pd.DataFrame, settings: Split) -> None:
    """Raise an `InputError` if `split.on_leak` is fail and an image leaks."""
    if settings.on_leak == "fail" and len(leaked):
        rows = leaked.head(3).itertuples()
        examples = "; ".join(f"{row.id} ({row.shared}: {row.test_id})" for row in rows)
        raise InputError(
            "split.on_leak: expected no image in training that shares its picture or its donor "
            f"with the test set. Received: {len(leaked)}, e.g. {examples}. Take them out, or set "
            "split.on_leak to drop or report in params.yaml."
        )


def _examples(rejected: pd.DataFrame) -> str:
    return "; ".join(f"{row.id}: {row.reason}" for row in rejected.head(3).itertuples())
