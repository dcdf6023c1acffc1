"""Accuracy against what it costs, for the experiments of a sweep."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tissue.figures.theme import INK, MODEL_COLOURS, MUTED, house_style, new_figure

RINGED = "best on validation"
CACHED = "features from the cache"


def cost_figure(table: pd.DataFrame) -> Figure:
    """Draw test accuracy with its 95 % interval against seconds and against parameters.

    The experiment that is best on validation, by which one chooses, is ringed. Hollow ones did not
    pay for the features that they use, so they look cheaper than they are.

    Args:
        table: as `sweep_table` makes it; rows without seconds are not in the first panel.
    """
    table = table.assign(
        seconds=table["seconds"].astype(float), thousands=table["parameters"] / 1000
    )
    with house_style():
        figure = new_figure(8.0, 3.4)
        left, right = figure.subplots(1, 2, sharey=True)
        timed = table.dropna(subset=["seconds"])
        if timed.empty:
            note = "All came from the cache: nothing to time"
            left.text(0.5, 0.5, note, ha="center", color=MUTED, transform=left.transAxes)
        best = [rows["val_accuracy"].idxmax() for _, rows in table.groupby("model")]
        cached = (table["model"] == "pretrained") & ~table["ran"].str.contains("embed")
        _draw(left, timed, "seconds", timed.index.intersection(best), cached[timed.index])
        _draw(right, table, "thousands", pd.Index(best), cached & False)
        left.set(xlabel="seconds of training and embedding", ylabel="test accuracy")
        right.set_xlabel("thousand parameters")
        # Each name once.
        labelled = [axis.get_legend_handles_labels() for axis in (right, left)]
        named = {name: handle for pair in labelled for handle, name in zip(*pair, strict=True)}
        right.legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _draw(axis: Axes, table: pd.DataFrame, cost: str, best: pd.Index, hollow: pd.Series) -> None:
    for model, rows in table.groupby("model", sort=True):
        colour = MODEL_COLOURS[str(model)]
        low, high = rows["test_accuracy_low"], rows["test_accuracy_high"]
        axis.vlines(rows[cost], low, high, color=colour, linewidth=1)
        for some, face, name in (
            (rows[~hollow[rows.index]], colour, str(model)),
            (rows[hollow[rows.index]], "white", CACHED),
        ):
            if len(some):
                axis.plot(
                    some[cost], some["test_accuracy"], "o",
                    color=colour, markerfacecolor=face, label=name,
                )  # fmt: skip
    ringed = table.loc[best]
    axis.plot(
        ringed[cost], ringed["test_accuracy"], "o",
        markersize=11, markerfacecolor="none", markeredgecolor=INK, label=RINGED,
    )  # fmt: skip
