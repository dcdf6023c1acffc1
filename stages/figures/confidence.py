"""Reliability and risk-coverage curves of the models, one beside the other."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stages.figures.theme import MODEL_COLOURS, MUTED, house_style, new_figure


def reliability_figure(curves: Mapping[str, pd.DataFrame], *, names: Mapping[str, str]) -> Figure:
    """Draw accuracy against confidence; on the diagonal a model is as right as it says.

    Args:
        curves: by model, as from `stages.metrics.confidence.reliability`.
        names: of the models, for the legend.
    """
    with house_style():
        figure, axes = _square("confidence", "accuracy")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.annotate(
            "as right as it says", (0.1, 0.1), rotation=45, color=MUTED, ha="center", va="bottom",
            rotation_mode="anchor", fontsize=8, xytext=(0, 2), textcoords="offset points",
        )  # fmt: skip
        for (model, curve), marker in zip(curves.items(), ("s", "o"), strict=True):
            spread = [
                curve["accuracy"] - curve["accuracy_low"],
                curve["accuracy_high"] - curve["accuracy"],
            ]
            axes.errorbar(
                curve["confidence"], curve["accuracy"], yerr=spread, marker=marker, markersize=4.5,
                linewidth=1.6, elinewidth=0.7, color=MODEL_COLOURS[model], label=names[model],
            )  # fmt: skip
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left")
    return figure


def risk_coverage_figure(curves: Mapping[str, pd.DataFrame], *, names: Mapping[str, str]) -> Figure:
    """Draw the error rate among the images that are kept, against the share kept.

    Args:
        curves: by model, as from `stages.metrics.confidence.risk_coverage`.
        names: of the models, for the legend.
    """
    with house_style():
        figure, axes = _square("share of images answered, surest first", "errors among them")
        for (model, curve), style in zip(curves.items(), ("--", "-"), strict=True):
            axes.plot(
                curve["coverage"], curve["error"], linewidth=2.0, linestyle=style,
                color=MODEL_COLOURS[model], label=names[model],
            )  # fmt: skip
        axes.set_ylim(bottom=0.0)
        axes.legend(loc="upper left")
    return figure


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = new_figure(4.6, 4.0)
    axes = figure.add_subplot()
    axes.set_xlim(0.0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))  # as fine as its ticks
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#E4E7EA", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes
