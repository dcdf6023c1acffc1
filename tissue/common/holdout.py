"""Which groups of images are held out, so that every class has its share on either side."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.errors import InputError

ATTEMPTS = 32  # orders of the groups that are tried
STEPS = 20_000  # groups looked at in all attempts together; many groups need few attempts


def group_holdout(index: pd.DataFrame, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose the part to hold out, bool (N,): about `fraction` of every class, in whole groups.

    Groups are visited in a random order, and one is taken if that brings the classes nearer to
    their fraction, unless a class would be left without an image outside; the best of several
    orders counts. A class with two groups or more is thus on both sides as a rule, one whose
    images are all of one group stays outside (see `missing_classes`). The choice depends on the
    seed, and on the groups, but not on the order of the rows.

    Args:
        index: a row an image, with `class` and `group`.
        fraction: of the images of each class, between 0 and 1.
        seed: of the choice.

    Raises:
        InputError: if no group can be taken.
    """
    table = pd.crosstab(index["group"], index["class"]).sort_index().sort_index(axis=1)
    counts = table.to_numpy(np.float64)
    best = np.zeros(len(counts), bool)
    least = np.inf
    for attempt in range(max(1, min(ATTEMPTS, STEPS // max(1, len(counts))))):
        order = np.random.default_rng([seed, attempt]).permutation(len(counts))
        taken, error = _visit(counts, order, fraction)
        if error < least:
            best, least = taken, error
    if not best.any():
        raise InputError(
            "expected two groups (donors, slides or clusters of near-duplicates) or more in a "
            f"class, to hold one out. Received: {len(counts)} in all, e.g. {table.index[0]!r}, "
            "none of which can be taken without leaving a class empty. Add other donors (of the "
            "atlas: genes), or mend what names them (split.metadata, split.group_pattern)."
        )
    return index["group"].isin(table.index[best]).to_numpy()


def _visit(
    counts: NDArray[np.float64], order: NDArray[np.int64], fraction: float
) -> tuple[NDArray[np.bool_], float]:
    """Take groups in one order; return which, and how far the classes are from their fraction."""
    total = counts.sum(0)
    held = np.zeros_like(total)
    taken = np.zeros(len(counts), bool)
    error = _error(held, total, fraction)
    for group in order:
        more = held + counts[group]
        if (more >= total).any():
            continue
        changed = _error(more, total, fraction)
        if changed < error:
            held, error = more, changed
            taken[group] = True
    return taken, error


def _error(held: NDArray[np.float64], total: NDArray[np.float64], fraction: float) -> float:
    # A class with nothing held out cannot be judged at all, which is worse than too much of it.
    return float(((held / total - fraction) ** 2 + (held == 0)).sum())


def missing_classes(index: pd.DataFrame, taken: NDArray[np.bool_]) -> list[str]:
    """Return the names of the classes that have no image in the part taken out, sorted."""
    return sorted(set(index["class"]) - set(index.loc[taken, "class"]))
