"""What the audit found: accuracies beside chance, and the learning curve."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tissue.figures.curves import DOTTED
from tissue.figures.theme import GRID, INK, MODEL_COLOURS, MUTED, house_style, new_figure

BEYOND = 2  # times the largest number of donors that was measured: where the curve is drawn to
AUDITED = {
    "careless": "split at random by image",
    "honest": "split by {group}",
    "whole_image": "whole image without crops",
    "all_shortcuts": "all shortcuts together",
    "colour": "colour alone",
    "tissue_and_blur": "share of tissue and blur alone",
    "size": "size and shape alone",
    "chance": "most frequent class",
}  # what was cross-validated, by its name in metrics/audit.json


def audit_figure(table: pd.DataFrame, *, group: str) -> Figure:
    """Draw accuracies with their intervals below each other.

    `table` has the columns what, accuracy, low and high; `group` names what is kept whole.
    """
    with house_style():
        figure = new_figure(6.4, 0.6 + 0.32 * len(table))
        axes = figure.add_subplot(xlabel="accuracy, cross-validated")
        places = np.arange(len(table))
        features = table["what"].isin(("careless", "honest", "whole_image"))
        colours = np.where(features, MODEL_COLOURS["pretrained"], MUTED)
        axes.barh(places, table["accuracy"], color=colours, height=0.6)
        ends = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
        axes.errorbar(table["accuracy"], places, xerr=ends, fmt="none", ecolor=INK, elinewidth=1.2)
        axes.set_yticks(places, [AUDITED[what].format(group=group) for what in table["what"]])
        axes.set_xlim(0.0, 1.0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def learning_curve_figure(table: pd.DataFrame, fit: Mapping[str, Any], *, group: str) -> Figure:
    """Draw accuracy against the number of donors, with the fit up to twice as many.

    Args:
        table: groups, accuracy, low and high.
        fit: `ceiling`, `gap` and `slope` of the power law.
        group: what is counted, such as donor.
    """
    most = int(table["groups"].max())
    beyond = np.linspace(table["groups"].min(), BEYOND * most, 200)
    fitted = fit["ceiling"] - fit["gap"] * beyond ** -fit["slope"]
    with house_style():
        figure = new_figure(6.4, 4.0)
        axes = figure.add_subplot(
            xlabel=f"{group}s of each class to learn from", ylabel="accuracy, cross-validated"
        )
        ends = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
        axes.errorbar(
            table["groups"], table["accuracy"], yerr=ends, fmt="o", markersize=4.5, elinewidth=0.9,
            color=MODEL_COLOURS["pretrained"], label="measured, 95% interval",
        )  # fmt: skip
        inside = beyond <= most
        axes.plot(beyond[inside], fitted[inside], color=INK, linewidth=1.2, label="power law")
        axes.plot(
            beyond[~inside], fitted[~inside], color=INK, linewidth=1.2, linestyle=DOTTED,
            label="the same, beyond the data",
        )  # fmt: skip
        axes.set_ylim(0.0, 1.0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="lower right")
    return figure
