"""Curves of both models: training histories, reliability, and risk against coverage."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from tissue.common.names import MODEL_NAMES
from tissue.figures.theme import GRID, INK, MODEL_COLOURS, MUTED, house_style, new_figure

COLUMNS = ["epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy"]
DOTTED = (0, (2, 3))


def history_figure(frame: pd.DataFrame, model: str) -> Figure:
    """Draw loss (left) and accuracy (right) by epoch, for training and validation.

    A dotted line marks the lowest validation loss of the last phase; earlier phases saw other
    images or trained other layers. A thin line separates phases.

    Args:
        frame: one row per epoch, with the columns `COLUMNS`.
        model: what was trained, `scratch` or `pretrained`.

    Raises:
        ValueError: if a column is missing or there is no epoch.
    """
    if frame.empty or not {*COLUMNS} <= {*frame.columns}:
        raise ValueError(
            f"Expected a training history with the columns {COLUMNS} and at least one "
            f"epoch. Received: {list(frame.columns)}, {len(frame)} rows."
        )
    last = frame[frame["phase"] == frame["phase"].max()]
    best = int(last["epoch"].iloc[int(last["val_loss"].to_numpy().argmin())])
    begun = frame["epoch"][frame["phase"].diff() > 0]
    phases, which = (f" in {len(begun) + 1} phases", " of the last") if len(begun) else ("", "")
    marked = f"dotted: lowest validation loss{which}, epoch {best}"
    title = f"{MODEL_NAMES[model]} (n = {len(frame)} epochs{phases}; {marked})"
    with house_style():
        figure = _curves(frame, "epoch", best, title, MODEL_COLOURS[model])
        for axes in figure.axes:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
            for epoch in begun:
                axes.axvline(epoch - 0.5, color=GRID, linewidth=0.6, zorder=0)
    return figure


def penalty_figure(frame: pd.DataFrame) -> Figure:
    """Draw loss and accuracy of the pretrained head by penalty, in training and on held-out folds.

    Args:
        frame: one row per penalty, from `tissue.training.cross_fitting.choose_penalty`.
    """
    best = float(frame["penalty"].iloc[int(frame["val_loss"].to_numpy().argmin())])
    marked = f"dotted: lowest loss of the folds held out, {best:g}"
    title = f"{MODEL_NAMES['pretrained']}, head (n = {len(frame)} penalties; {marked})"
    with house_style():
        figure = _curves(frame, "penalty", best, title, MODEL_COLOURS["pretrained"])
        for axes in figure.axes:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")  # matplotlib's own needs math in texts
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("L2 penalty")
    return figure


def _curves(frame: pd.DataFrame, x: str, best: float, title: str, colour: str) -> Figure:
    """Draw training thin and dark, validation strong and coloured; a lone row as a point."""
    figure = new_figure(8.0, 3.2)
    loss, accuracy = figure.subplots(1, 2)
    marker = "o" if len(frame) == 1 or x == "penalty" else ""
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(
            frame[x], frame[quantity], color=INK, linewidth=1.1, linestyle="--", marker=marker,
            markersize=3.5, label="training",
        )  # fmt: skip
        axes.plot(
            frame[x], frame[f"val_{quantity}"], color=colour, linewidth=2.0, marker=marker,
            label="validation",
        )  # fmt: skip
        axes.axvline(best, color=MUTED, linewidth=0.8, linestyle=DOTTED, zorder=0)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(x)
        axes.set_title(quantity)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    accuracy.set_ylim(0.0, 1.02)
    loss.set_ylim(bottom=0.0)
    loss.legend(loc="best", frameon=True, edgecolor="white", framealpha=1.0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def reliability_figure(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against confidence; a calibrated model lies on the diagonal.

    Args:
        curves: by model, from `tissue.metrics.calibration.reliability`.
    """
    with house_style():
        figure, axes = _square("confidence", "accuracy")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=DOTTED)
        axes.annotate(
            "as right as it says", (0.1, 0.1), rotation=45, color=MUTED, ha="center", va="bottom",
            rotation_mode="anchor", fontsize=8, xytext=(0, 2), textcoords="offset points",
        )  # fmt: skip
        for (model, curve), marker in zip(curves.items(), ("s", "o"), strict=True):
            accuracy, low, high = (curve[f"accuracy{end}"] for end in ("", "_low", "_high"))
            axes.errorbar(
                curve["confidence"], accuracy, yerr=[accuracy - low, high - accuracy],
                marker=marker, markersize=4.5, linewidth=1.6, elinewidth=0.7,
                color=MODEL_COLOURS[model], label=MODEL_NAMES[model],
            )  # fmt: skip
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left")
    return figure


def risk_coverage_figure(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the error rate among the images that are kept, with its interval, by the share kept.

    Args:
        curves: by model, from `tissue.metrics.calibration.risk_coverage`.
    """
    with house_style():
        figure, axes = _square("share of images answered, surest first", "errors among them")
        for (model, curve), style in zip(curves.items(), ("--", "-"), strict=True):
            axes.plot(
                curve["coverage"], curve["error"], linewidth=2.0, linestyle=style,
                color=MODEL_COLOURS[model], label=MODEL_NAMES[model],
            )  # fmt: skip
            axes.fill_between(
                curve["coverage"], curve["error_low"], curve["error_high"], alpha=0.15,
                color=MODEL_COLOURS[model], linewidth=0,
            )  # fmt: skip
        axes.set_ylim(bottom=0.0)
        axes.legend(loc="upper left")
    return figure


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = new_figure(4.6, 4.0)
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.set_xlim(0.0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))  # as many decimals as its ticks need
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def ranking_figure(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw ROC (left) and precision-recall curves (right) of all classes together.

    Args:
        curves: by model, from `tissue.metrics.ranking.ranking_curves`.
    """
    names = {
        "roc": ("false positive rate", "true positive rate"),
        "precision_recall": ("recall", "precision"),
    }
    with house_style():
        figure = new_figure(8.0, 3.6)
        for axes, (curve, (x, y)) in zip(figure.subplots(1, 2), names.items(), strict=True):
            for (model, table), style in zip(curves.items(), ("--", "-"), strict=True):
                rows = table[table["curve"] == curve]
                axes.plot(
                    rows["x"], rows["y"], linewidth=2.0, linestyle=style,
                    color=MODEL_COLOURS[model], label=MODEL_NAMES[model],
                )  # fmt: skip
            axes.set(xlabel=x, ylabel=y, xlim=(0.0, 1.02), ylim=(0.0, 1.02))
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.grid(color=GRID, linewidth=0.6)
            axes.set_axisbelow(True)
        figure.axes[0].legend(loc="lower right")
    return figure
