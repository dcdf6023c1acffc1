"""A holdout set of whole groups of images, with a share of every class."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError

ATTEMPTS = 32  # random orders of the groups that are tried
STEPS = 20_000  # most groups visited in all attempts; with many groups, few attempts are enough


def group_holdout(index: pd.DataFrame, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose images to hold out, bool (N,): about `fraction` of every `class`, in whole `group`s.

    Groups are visited in random order. A group is held out if that brings the shares of the classes
    nearer to `fraction` and leaves no class empty; the best of several orders is used. As a rule, a
    class with two groups or more is thus on both sides, and a class with one group is not held out
    (see `missing_classes`). The order of the rows has no effect.

    Raises:
        InputError: if no group can be held out.
    """
    table = pd.crosstab(index["group"], index["class"]).sort_index().sort_index(axis=1)
    counts = table.to_numpy(np.float64)
    best, least = np.zeros(len(counts), bool), np.inf
    for attempt in range(max(1, min(ATTEMPTS, STEPS // max(1, len(counts))))):
        order = np.random.default_rng([seed, attempt]).permutation(len(counts))
        held_out, error = _visit(counts, order, fraction)
        if error < least:
            best, least = held_out, error
    if not best.any():
        raise InputError(
            "expected two groups (donors, array positions or clusters of near-duplicates) or more "
            f"in a class, to hold one out. Received: {len(counts)} in all, e.g. "
            f"{table.index[0]!r}, none of which can be held out without leaving a class empty. Add "
            "other donors (of the atlas: genes), or correct the groups (split.metadata, for which "
            "`python -m tissue donors` asks the atlas, or split.group_pattern)."
        )
    return index["group"].isin(table.index[best]).to_numpy()


def _visit(
    counts: NDArray[np.float64], order: NDArray[np.int64], fraction: float
) -> tuple[NDArray[np.bool_], float]:
    """Visit groups in one order; return which are held out, and the error of the shares."""
    total = counts.sum(0)
    held = np.zeros_like(total)
    held_out = np.zeros(len(counts), bool)
    error = _error(held, total, fraction)
    for group in order:
        more = held + counts[group]
        if (more < total).all() and (lower := _error(more, total, fraction)) < error:
            held, error = more, lower
            held_out[group] = True
    return held_out, error


def _error(held: NDArray[np.float64], total: NDArray[np.float64], fraction: float) -> float:
    # A class with nothing held out cannot be measured, which is worse than holding out too much.
    return float(((held / total - fraction) ** 2 + (held == 0)).sum())


def missing_classes(index: pd.DataFrame, held_out: NDArray[np.bool_]) -> list[str]:
    """Return the sorted names of the classes without an image that is held out."""
    return sorted(set(index["class"]) - set(index.loc[held_out, "class"]))
