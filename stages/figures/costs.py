"""Accuracy against what it costs, for the experiments of a sweep."""

import pandas as pd
from matplotlib.figure import Figure

from stages.figures.theme import INK, MODEL_COLOURS, new_figure

COSTS = {"seconds": "seconds of training", "parameters": "parameters of the network"}


def cost_figure(table: pd.DataFrame) -> Figure:
    """Draw test accuracy with its 95 % interval against seconds and against parameters.

    The experiment that is best on validation, by which one chooses, is ringed.

    Args:
        table: as `sweep_table` makes it; rows without seconds are not in the first panel.
    """
    figure = new_figure(8.0, 3.4)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axis, (cost, label) in zip(panels, COSTS.items(), strict=True):
        for model, rows in table.dropna(subset=[cost]).groupby("model", sort=True):
            middle = rows["test_accuracy"]
            spread = [middle - rows["test_accuracy_low"], rows["test_accuracy_high"] - middle]
            axis.errorbar(
                rows[cost], middle, yerr=spread,
                fmt="o", color=MODEL_COLOURS[str(model)], capsize=2, linewidth=1, label=model,
            )  # fmt: skip
            best = rows.loc[rows["val_accuracy"].idxmax()]
            axis.plot(
                best[cost], best["test_accuracy"], "o",
                markersize=11, markerfacecolor="none", markeredgecolor=INK,
            )  # fmt: skip
        axis.set_xlabel(label)
    panels[0].set_ylabel("test accuracy")
    panels[-1].legend(*panels[-1].get_legend_handles_labels(), loc="best")
    figure.suptitle("Ringed: best on validation")
    return figure
