"""The same test images under two revisions: paired tests, and which images changed sides."""

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
    """Two prediction tables, row by row the same images, and what one of them lacks."""

    old: pd.DataFrame
    new: pd.DataFrame
    groups: pd.Series
    only_old: int
    only_new: int
    relabelled: int


class Paired(NamedTuple):
    """A difference, new minus old, on the same images."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> str:
        """Gain or loss if the interval and the test say so; else noise."""
        if self.low == self.difference == self.high == 0:
            return "same"
        if not is_beyond_chance(self.low, self.high, self.p_value):
            return "noise"
        return "gain" if self.difference > 0 else "loss"


class Crossing(NamedTuple):
    """An image that changed sides."""

    id: str
    actual: str
    old: str
    new: str


def pair_predictions(old: pd.DataFrame, new: pd.DataFrame, index: pd.DataFrame) -> Pairs:
    """Join two prediction tables on id.

    Args:
        old: predictions of the base revision, with the columns id, class, predicted and p_<class>.
        new: those of the workspace.
        index: a table with the columns id and group, the donor; an image that it lacks stands for
            a donor of its own.
    """
    ids = sorted(set(old["id"]) & set(new["id"]))
    left, right = (table.set_index("id").loc[ids].reset_index() for table in (old, new))
    donors = index.drop_duplicates("id").set_index("id")["group"]
    ids_column = pd.Series(ids, dtype=object)
    groups = ids_column.map(donors).fillna(ids_column)
    relabelled = int((left["class"] != right["class"]).sum())
    return Pairs(left, right, groups, len(old) - len(ids), len(new) - len(ids), relabelled)


def paired_metrics(pairs: Pairs, *, sampling: Sampling) -> dict[str, Paired]:
    """Paired differences of the metrics of the test part, by their name in `metrics/<model>.json`.

    Shares of right answers get McNemar's exact test and an interval that resamples donors;
    macro-F1, which is no share, a permutation test in its place.
    """

    def exact(view: Callable[[pd.DataFrame], pd.DataFrame], rows: NDArray[np.bool_]) -> Paired:
        found = paired_comparison(
            view(pairs.old[rows]),
            view(pairs.new[rows]),
            pairs.groups[rows],
            sampling=sampling,
        )
        if not found["only_scratch"] + found["only_pretrained"]:
            return Paired(0.0, 0.0, 0.0, 1.0)  # by the same answers, not by chance
        bounds = found["difference_low"], found["difference_high"]
        return Paired(found["difference"], *bounds, found["p_value"])

    everything = np.ones(len(pairs.old), bool)
    classes = sorted({*pairs.old["class"], *pairs.new["class"]})
    found = {"accuracy": exact(lambda table: table, everything)}
    answers = {*pairs.old["predicted"], *pairs.new["predicted"]}
    if is_atlas([*classes, *sorted(answers)]):
        found["accuracy_10_tissues"] = exact(lambda table: _joined(table, TISSUES), everything)
        found["accuracy_8_systems"] = exact(lambda table: _joined(table, SYSTEMS), everything)
    if len(_probability_columns(pairs.old)) > TOP and len(_probability_columns(pairs.new)) > TOP:
        found["top3_accuracy"] = exact(_in_top, everything)
    found["macro_f1"] = _macro_f1(pairs, sorted({*classes, *answers}), sampling)
    for name in classes:
        rows = ((pairs.old["class"] == name) & (pairs.new["class"] == name)).to_numpy()
        if rows.any():
            found[f"recall.{name}"] = exact(lambda table: table, rows)
    return found


def _joined(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({key: table[key].map(names) for key in ("class", "predicted")})


def _probability_columns(table: pd.DataFrame) -> list[str]:
    return [column for column in table if column.startswith("p_")]


def _in_top(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the actual class as the answer where it is among the three likeliest."""
    columns = _probability_columns(table)
    order = np.argsort(-table[columns].to_numpy(), axis=1, kind="stable")[:, :TOP]
    names = np.array([column.removeprefix("p_") for column in columns])
    actual = table["class"].to_numpy()
    hit = (names[order] == actual[:, None]).any(axis=1)
    return table.assign(predicted=np.where(hit, actual, names[order[:, 0]]))


def _macro_f1(pairs: Pairs, names: list[str], sampling: Sampling) -> Paired:
    cells = len(names) ** 2

    def difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return macro_f1(sums[..., cells:]) - macro_f1(sums[..., :cells])

    both = np.hstack([one_hot_confusions(table, names) for table in (pairs.old, pairs.new)])
    bounds = bootstrap(both, pairs.groups, difference, sampling=sampling)
    real = float(difference(both.sum(axis=0)))
    return Paired(real, *bounds, _exchanged(both, pairs.groups, difference, sampling))


def _exchanged(
    both: NDArray[np.float64], groups: pd.Series, difference: Statistic, sampling: Sampling
) -> float:
    """Two-sided p-value of a permutation test: which model answered is exchanged, by donor.

    Args:
        both: (N, 2 * K), of the old model and, after it, of the new one.
        groups: the donor of each row.
        difference: of sums (..., 2 * K), new minus old.
        sampling: how many exchanges are drawn, and the seed.
    """
    sums = sums_by_group(both, groups)
    swapped = np.roll(sums, both.shape[1] // 2, axis=1)
    chosen = np.random.default_rng(sampling.seed).integers(0, 2, (sampling.resamples, len(sums)))
    drawn = difference(chosen @ swapped + (1 - chosen) @ sums)
    as_far = np.abs(drawn) >= abs(float(difference(sums.sum(axis=0)))) - 1e-12
    return float((1 + as_far.sum()) / (1 + sampling.resamples))


def crossings(pairs: Pairs) -> tuple[list[Crossing], list[Crossing]]:
    """Images that went from right to wrong, and from wrong to right, sorted by class and id."""
    old, new = pairs.old, pairs.new
    was, now = old["class"] == old["predicted"], new["class"] == new["predicted"]
    rows = [
        Crossing(*row)
        for row in zip(old["id"], new["class"], old["predicted"], new["predicted"], strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda i: (rows[i].actual, rows[i].id))
    lost = [rows[i] for i in order if was[i] and not now[i]]
    won = [rows[i] for i in order if now[i] and not was[i]]
    return lost, won
