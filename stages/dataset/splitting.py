"""Which images belong together, and which groups of them are held out.

Images of one donor, and copies of one picture, are not independent: with one in training and the
other in the test, a score measures memory. So they form a group, and a group is never divided.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.cli.running import InputError

ATTEMPTS = 32  # orders of the groups that are tried
STEPS = 20_000  # groups looked at in all attempts together; many groups need few attempts


def assign_groups(index: pd.DataFrame, clusters: NDArray[np.int64]) -> tuple[pd.Series, str]:
    """Return the group of each image, and the rule that gave it.

    The rule is the first that applies: `donor` or `slide`, where every image has one, else
    `near-duplicate cluster`. Near-duplicates share a group under each rule: where a copy carries
    another donor's name, both donors become one group, since a division between them would put
    the same picture on both sides. A group is named after the first of its donors or slides,
    else after the id of its first image, in the order of names.

    Args:
        index: a row an image, with `id`, `donor` and `slide`, empty where unknown.
        clusters: number of the near-duplicate cluster of each image, int64 (N,).
    """
    for rule in ("donor", "slide"):
        if rule in index and len(index) and (index[rule].fillna("") != "").all():
            names = index[rule].astype(str).to_numpy()
            return _first_names(names, _joined(names, clusters), index.index), rule
    return _first_names(index["id"].to_numpy(), clusters, index.index), "near-duplicate cluster"


def _joined(names: NDArray[np.object_], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number a row, the same for rows that names or clusters join, even through others."""
    code, known = pd.factorize(names)
    size = len(known) + int(clusters.max()) + 1
    ends = (code, clusters + len(known))
    links = coo_array((np.ones(len(code), np.int8), ends), (size, size))
    _, part = connected_components(links, directed=False)
    return part[code]


def _first_names(
    names: NDArray[np.object_], numbers: NDArray[np.int64], rows: pd.Index
) -> pd.Series:
    """Return for each row the first, in order, of the names that share its number."""
    return pd.Series(names, rows).groupby(numbers).transform("min")


def take_out(index: pd.DataFrame, fraction: float, seed: int) -> NDArray[np.bool_]:
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
            "split: expected two groups (donors, slides or clusters of near-duplicates) or more in "
            f"a class, to hold one out. Received: {len(counts)} groups, none of which can be "
            "taken without leaving a class empty. Add images of other donors."
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
