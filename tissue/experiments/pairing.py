"""The same test images under two revisions: paired tests, and which answers changed sides."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.names import SYSTEMS, TISSUES, is_atlas
from tissue.metrics.classification import class_counts, macro_f1
from tissue.metrics.intervals import Clusters, Sampling, clusters_of, statistic_interval
from tissue.metrics.paired import is_beyond_chance, paired_comparison, sign_flip_test
from tissue.metrics.predictions import TOP, is_in_top


class Pairs(NamedTuple):
    """Two prediction tables with the same images row by row, and how many only one of them has."""

    old: pd.DataFrame
    new: pd.DataFrame
    clusters: Clusters
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

    The index has the columns id and group, the donor, and may have antibody and slide; an image
    that is not in it counts as a donor of its own.
    """
    ids = pd.Series(sorted({*old["id"]} & {*new["id"]}), dtype=object)
    left, right = (table.set_index("id").loc[ids].reset_index() for table in (old, new))
    images = index.drop_duplicates("id").set_index("id").reindex(ids)
    images["group"] = images["group"].fillna(pd.Series(ids.to_numpy(), index=ids))
    clusters = clusters_of(images.fillna("").assign(**{"class": right["class"].to_numpy()}))
    relabelled = int((left["class"] != right["class"]).sum())
    return Pairs(left, right, clusters, len(old) - len(ids), len(new) - len(ids), relabelled)


def paired_metrics(pairs: Pairs, *, sampling: Sampling) -> dict[str, Difference]:
    """Return the paired differences of test metrics, named as in `metrics/<model>.json`.

    The test of each is that of sign flips by donor.
    """
    old, new, clusters = pairs.old, pairs.new, pairs.clusters
    classes = sorted({*old["class"], *new["class"]})
    names = sorted({*classes, *old["predicted"], *new["predicted"]})
    found = {"accuracy": _of_shares(old, new, clusters, sampling)}
    views: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {}
    if is_atlas(names):
        views["accuracy_10_tissues"] = lambda table: _joined(table, TISSUES)
        views["accuracy_8_systems"] = lambda table: _joined(table, SYSTEMS)
    if min(len(_probability_columns(table)) for table in (old, new)) > TOP:
        views["top3_accuracy"] = _in_top
    for key, view in views.items():
        found[key] = _of_shares(view(old), view(new), clusters, sampling)
    found["macro_f1"] = _macro_f1(pairs, names, sampling)
    for name in classes:
        rows = (old["class"] == name) & (new["class"] == name)
        if rows.any():
            found[f"recall.{name}"] = _of_shares(
                old[rows], new[rows], clusters.take(rows.to_numpy()), sampling
            )
    return found


def _of_shares(
    old: pd.DataFrame, new: pd.DataFrame, clusters: Clusters, sampling: Sampling
) -> Difference:
    found = paired_comparison(old, new, clusters, sampling=sampling)
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
    other = np.where(table["predicted"] == table["class"], "", table["predicted"])
    return table.assign(predicted=np.where(is_in_top(table), table["class"], other))


def _macro_f1(pairs: Pairs, names: list[str], sampling: Sampling) -> Difference:
    old, new = (class_counts(table, names) for table in (pairs.old, pairs.new))
    half = old.shape[1]

    def difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return macro_f1(sums[..., half:]) - macro_f1(sums[..., :half])

    both = np.hstack([old, new])
    bounds = statistic_interval(both, pairs.clusters, difference, bounds=(-1.0, 1.0))
    p_value = sign_flip_test(old, new, pairs.clusters, macro_f1, sampling=sampling)
    return Difference(float(difference(both.sum(axis=0))), *bounds, p_value)


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
