"""Accuracy against what it costs, for the experiments of a sweep."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tissue.figures.theme import INK, MODEL_COLOURS, MUTED, house_style, new_figure

RINGED = "best on validation"
CACHED = "features from the cache"


def cost_figure(table: pd.DataFrame) -> Figure:
    """Draw test accuracy with its 95 % interval against seconds and against parameters.

    A ring marks the experiment with the best validation accuracy, by which one chooses. Hollow
    points took their features from the cache, so they look cheaper than they are.

    Args:
        table: from `sweep_table`; the first panel leaves out rows without seconds.
    """
    table = table.assign(
        seconds=table["seconds"].astype(float), thousands=table["parameters"] / 1000
    )
    timed = table.dropna(subset=["seconds"])
    best = pd.Index([rows["val_accuracy"].idxmax() for _, rows in table.groupby("model")])
    cached = (table["model"] == "pretrained") & ~table["ran"].str.contains("embed")
    with house_style():
        figure = new_figure(8.0, 3.4)
        left, right = figure.subplots(1, 2, sharey=True)
        if timed.empty:
            note = "All came from the cache: nothing to time"
            left.text(0.5, 0.5, note, ha="center", color=MUTED, transform=left.transAxes)
        _draw(left, timed, "seconds", timed.index.intersection(best), cached[timed.index])
        _draw(right, table, "thousands", best, cached & False)
        left.set(xlabel="seconds of training and embedding", ylabel="test accuracy")
        right.set_xlabel("thousand parameters")
        # Each name once.
        labelled = [axes.get_legend_handles_labels() for axes in (right, left)]
        named = {name: handle for pair in labelled for handle, name in zip(*pair, strict=True)}
        right.legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _draw(axes: Axes, table: pd.DataFrame, cost: str, best: pd.Index, hollow: pd.Series) -> None:
    for model, rows in table.groupby("model", sort=True):
        colour = MODEL_COLOURS[str(model)]
        low, high = rows["test_accuracy_low"], rows["test_accuracy_high"]
        axes.vlines(rows[cost], low, high, color=colour, linewidth=1)
        for some, face, name in (
            (rows[~hollow[rows.index]], colour, str(model)),
            (rows[hollow[rows.index]], "white", CACHED),
        ):
            if len(some):
                axes.plot(
                    some[cost], some["test_accuracy"], "o",
                    color=colour, markerfacecolor=face, label=name,
                )  # fmt: skip
    ringed = table.loc[best]
    axes.plot(
        ringed[cost], ringed["test_accuracy"], "o",
        markersize=11, markerfacecolor="none", markeredgecolor=INK, label=RINGED,
    )  # fmt: skip
