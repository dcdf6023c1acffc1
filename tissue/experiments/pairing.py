"""The same test images under two revisions: paired tests, and which answers changed sides."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.metrics.classification import one_hot_confusions, paired_comparison
from tissue.metrics.intervals import (
    Sampling,
    Statistic,
    bootstrap,
    is_beyond_chance,
    macro_f1,
    sums_by_group,
)

TOP = 3


class Pairs(NamedTuple):
    """Two prediction tables with the same images row by row, and how many only one of them has."""

    old: pd.DataFrame
    new: pd.DataFrame
    groups: pd.Series
    only_old: int
    only_new: int
    relabelled: int


class Difference(NamedTuple):
    """A paired difference on the same images, new minus old, with its interval and p-value."""

    value: float
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> str:
        """Gain or loss if the interval and the test say so, else noise; same if nothing changed."""
        if self.low == self.value == self.high == 0:
            return "same"
        if not is_beyond_chance(self.low, self.high, self.p_value):
            return "noise"
        return "gain" if self.value > 0 else "loss"


class Flip(NamedTuple):
    """An image whose answer went from right to wrong or back."""

    id: str
    actual: str
    old: str
    new: str


def pair_predictions(old: pd.DataFrame, new: pd.DataFrame, index: pd.DataFrame) -> Pairs:
    """Join two prediction tables, with the columns id, class, predicted and p_<class>, on id.

    The index has the columns id and group, the donor; an image that is not in it counts as a donor
    of its own.
    """
    ids = pd.Series(sorted({*old["id"]} & {*new["id"]}), dtype=object)
    left, right = (table.set_index("id").loc[ids].reset_index() for table in (old, new))
    donors = index.drop_duplicates("id").set_index("id")["group"]
    groups = ids.map(donors).fillna(ids)
    relabelled = int((left["class"] != right["class"]).sum())
    return Pairs(left, right, groups, len(old) - len(ids), len(new) - len(ids), relabelled)


def paired_metrics(pairs: Pairs, *, sampling: Sampling) -> dict[str, Difference]:
    """Return the paired differences of test metrics, named as in `metrics/<model>.json`.

    Shares of right answers get McNemar's exact test and an interval that resamples donors;
    macro-F1, which is not a share, gets a permutation test instead.
    """
    old, new, groups = pairs.old, pairs.new, pairs.groups
    classes = sorted({*old["class"], *new["class"]})
    names = sorted({*classes, *old["predicted"], *new["predicted"]})
    found = {"accuracy": _mcnemar(old, new, groups, sampling)}
    views: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {}
    if is_atlas(names):
        views["accuracy_10_tissues"] = lambda table: _joined(table, TISSUES)
        views["accuracy_8_systems"] = lambda table: _joined(table, SYSTEMS)
    if min(len(_probability_columns(table)) for table in (old, new)) > TOP:
        views["top3_accuracy"] = _in_top
    for key, view in views.items():
        found[key] = _mcnemar(view(old), view(new), groups, sampling)
    found["macro_f1"] = _macro_f1(pairs, names, sampling)
    for name in classes:
        rows = (old["class"] == name) & (new["class"] == name)
        if rows.any():
            found[f"recall.{name}"] = _mcnemar(old[rows], new[rows], groups[rows], sampling)
    return found


def _mcnemar(
    old: pd.DataFrame, new: pd.DataFrame, groups: pd.Series, sampling: Sampling
) -> Difference:
    found = paired_comparison(old, new, groups, sampling=sampling)
    if not found["only_scratch"] + found["only_pretrained"]:
        return Difference(0.0, 0.0, 0.0, 1.0)  # the same answers, which is not chance
    return Difference(
        *(found[key] for key in ("difference", "difference_low", "difference_high", "p_value"))
    )


def _joined(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({key: table[key].map(names) for key in ("class", "predicted")})


def _probability_columns(table: pd.DataFrame) -> list[str]:
    return [column for column in table if column.startswith("p_")]


def _in_top(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the actual class as the answer where it is among the first three."""
    columns = _probability_columns(table)
    order = np.argsort(-table[columns].to_numpy(), axis=1, kind="stable")[:, :TOP]
    names = np.array([column.removeprefix("p_") for column in columns])
    actual = table["class"].to_numpy()
    hit = (names[order] == actual[:, None]).any(axis=1)
    return table.assign(predicted=np.where(hit, actual, names[order[:, 0]]))


def _macro_f1(pairs: Pairs, names: list[str], sampling: Sampling) -> Difference:
    cells = len(names) ** 2

    def difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return macro_f1(sums[..., cells:]) - macro_f1(sums[..., :cells])

    both = np.hstack([one_hot_confusions(table, names) for table in (pairs.old, pairs.new)])
    bounds = bootstrap(both, pairs.groups, difference, sampling=sampling)
    p_value = _permutation_test(both, pairs.groups, difference, sampling)
    return Difference(float(difference(both.sum(axis=0))), *bounds, p_value)


def _permutation_test(
    both: NDArray[np.float64], groups: pd.Series, difference: Statistic, sampling: Sampling
) -> float:
    """Return the two-sided p-value of exchanging the two models at random, donor by donor.

    `both` holds (N, 2 * K) values, K of the old model and K of the new one; `difference` is of
    their sums (..., 2 * K), new minus old.
    """
    sums = sums_by_group(both, groups)
    swapped = np.roll(sums, both.shape[1] // 2, axis=1)
    chosen = np.random.default_rng(sampling.seed).integers(0, 2, (sampling.resamples, len(sums)))
    drawn = difference(chosen @ swapped + (1 - chosen) @ sums)
    extreme = np.abs(drawn) >= abs(float(difference(sums.sum(axis=0)))) - 1e-12
    return float((1 + extreme.sum()) / (1 + sampling.resamples))


def find_flips(pairs: Pairs) -> tuple[list[Flip], list[Flip]]:
    """Return the images that went from right to wrong and those back, sorted by class and id."""
    old, new = pairs.old, pairs.new
    columns = {"id": old["id"], "actual": new["class"]}
    table = pd.DataFrame({**columns, "old": old["predicted"], "new": new["predicted"]})
    was, now = old["class"] == old["predicted"], new["class"] == new["predicted"]
    lost, won = (
        [Flip(*row) for row in table[rows].sort_values(["actual", "id"]).itertuples(index=False)]
        for rows in (was & ~now, now & ~was)
    )
    return lost, won
