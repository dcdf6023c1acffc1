"""Accuracy against what it costs, for the experiments of a sweep."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures.theme import INK, MODEL_COLOURS, MUTED, house_style, new_figure

RINGED = "best on validation"


def cost_figure(table: pd.DataFrame) -> Figure:
    """Draw test accuracy with its 95 % interval against seconds and against parameters.

    The experiment that is best on validation, by which one chooses, is ringed.

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
        _draw(left, timed, "seconds")
        _draw(right, table, "thousands")
        left.set(xlabel="seconds of training and embedding", ylabel="test accuracy")
        right.set_xlabel("thousand parameters")
        # Each name once.
        named = dict(zip(*reversed(right.get_legend_handles_labels()), strict=True))
        right.legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _draw(axis: Axes, table: pd.DataFrame, cost: str) -> None:
    for model, rows in table.groupby("model", sort=True):
        colour = MODEL_COLOURS[str(model)]
        low, high = rows["test_accuracy_low"], rows["test_accuracy_high"]
        axis.vlines(rows[cost], low, high, color=colour, linewidth=1)
        axis.plot(rows[cost], rows["test_accuracy"], "o", color=colour, label=str(model))
        best = rows.loc[rows["val_accuracy"].idxmax()]
        axis.plot(
            [best[cost]], [best["test_accuracy"]], "o",
            markersize=11, markerfacecolor="none", markeredgecolor=INK, label=RINGED,
        )  # fmt: skip
