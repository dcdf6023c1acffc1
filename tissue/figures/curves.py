"""Training curves: loss and accuracy by epoch, on training and on validation images."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tissue.figures.theme import INK, MODEL_COLOURS, MUTED, house_style, new_figure

COLUMNS = ("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy")


def history_figure(
    frame: pd.DataFrame, *, title: str, colour: str = MODEL_COLOURS["pretrained"]
) -> Figure:
    """Draw loss (left) and accuracy (right).

    Dotted is the lowest validation loss of the last phase: earlier ones saw other images or trained
    other layers. The network that is kept is that of this epoch or, as the parameters say, the mean
    of the last ones, which is better than any of them. A thin line stands between phases.

    Args:
        frame: one row for each epoch, with the columns `epoch, phase, loss, accuracy, val_loss,
            val_accuracy`; others are ignored.
        title: what was trained; the numbers of epochs and phases are added.
        colour: of the validation curve.

    Raises:
        ValueError: if a column is missing or there is no epoch.
    """
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing or frame.empty:
        raise ValueError(
            f"Expected a training history with the columns {list(COLUMNS)} and at least one "
            f"epoch. Received: {list(frame.columns)}, {len(frame)} rows."
        )
    last = frame[frame["phase"] == frame["phase"].max()]
    best = int(last["epoch"].iloc[int(last["val_loss"].to_numpy().argmin())])
    begun = frame["epoch"][frame["phase"].diff() > 0]
    phases = f" in {len(begun) + 1} phases" if len(begun) else ""
    which = " of the last" if phases else ""
    with house_style():
        figure = new_figure(8.0, 3.2)
        for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            _draw_curves(axes, frame, quantity, colour)
            for epoch in begun:
                axes.axvline(epoch - 0.5, color="#E4E7EA", linewidth=0.6, zorder=0)
            axes.axvline(best, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
            axes.set_xlabel("epoch")
            axes.set_title(quantity)
        figure.axes[1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.axes[1].set_ylim(0.0, 1.02)
        figure.axes[0].set_ylim(bottom=0.0)
        figure.axes[0].legend(loc="upper right", frameon=True, edgecolor="white", framealpha=1.0)
        figure.suptitle(
            f"{title} (n = {len(frame)} epochs{phases}; "
            f"dotted: lowest validation loss{which}, epoch {best})",
            x=0.01,
            ha="left",
            fontsize=11,
        )
    return figure


def _draw_curves(axes: Axes, frame: pd.DataFrame, quantity: str, colour: str) -> None:
    """Training thin and dark, validation strong and coloured; a lone epoch shows as a point."""
    marker = "o" if len(frame) == 1 else ""
    axes.plot(
        frame["epoch"],
        frame[quantity],
        color=INK,
        linewidth=1.1,
        linestyle="--",
        marker=marker,
        label="training",
    )
    axes.plot(
        frame["epoch"],
        frame[f"val_{quantity}"],
        color=colour,
        linewidth=2.0,
        marker=marker,
        label="validation",
    )
    axes.grid(axis="y", color="#E4E7EA", linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_axisbelow(True)


def reliability_figure(curves: Mapping[str, pd.DataFrame], *, names: Mapping[str, str]) -> Figure:
    """Draw accuracy against confidence; on the diagonal a model is as right as it says.

    Args:
        curves: by model, as from `tissue.metrics.confidence.reliability`.
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
        curves: by model, as from `tissue.metrics.confidence.risk_coverage`.
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
