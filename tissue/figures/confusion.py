"""The confusion matrix: actual classes against predicted ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tissue.common.files import write_table
from tissue.common.names import MODEL_NAMES
from tissue.figures.lettering import label_names
from tissue.figures.theme import GRID, INK, house_style, new_figure, save_png

# Correct in blue, wrong in orange: on one linear scale the errors still stand out.
RIGHT = LinearSegmentedColormap.from_list("right", ["#FFFFFF", "#9DB9DC", "#2C5A9E", "#143766"])
WRONG = LinearSegmentedColormap.from_list("wrong", ["#FFFFFF", "#F3A76B", "#C2500A", "#7A2E00"])


def confusion_counts(
    actual: Sequence[str], predicted: Sequence[str], class_names: Sequence[str]
) -> np.ndarray:
    """Return int64 (K, K): images of each actual class (row) by predicted class (column).

    Raises:
        ValueError: if the two differ in length or hold a name that is not a class.
    """
    actual, predicted, names = list(actual), list(predicted), list(class_names)
    if len(actual) != len(predicted):
        raise ValueError(
            "Expected one predicted class for each actual class. "
            f"Received: {len(actual)} actual and {len(predicted)} predicted."
        )
    unknown = sorted({*actual, *predicted}.difference(names))
    if unknown:
        raise ValueError(
            f"Expected only the classes {names}. Received: {unknown}. "
            "Pass every class name of classes.json."
        )
    counts, labels = np.zeros((len(names), len(names)), dtype=np.int64), pd.Index(names)
    np.add.at(counts, (labels.get_indexer(actual), labels.get_indexer(predicted)), 1)
    return counts


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Return each row divided by its sum, float64 (K, K); zeros for a class without images."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def confusion_matrix_figure(
    actual: Sequence[str], predicted: Sequence[str], class_names: Sequence[str], *, title: str
) -> Figure:
    """Draw counts in cells coloured by their share of the row.

    Args:
        actual, predicted: one class name per image.
        class_names: all classes, in the order of the axes; 2 to 40 are readable.
        title: of the figure; how many images there are, and are right, is added.
    """
    names = list(class_names)
    counts = confusion_counts(actual, predicted, names)
    labels = list(label_names(names).values())
    shares, diagonal = row_shares(counts), np.eye(len(names), dtype=bool)[..., None]
    colours = np.where(diagonal, RIGHT(shares), WRONG(shares))  # RGBA (K, K, 4)
    longest = max(map(len, labels))
    cell = float(np.clip(7.0 / len(names), 0.29, 0.62 if len(names) > 4 else 1.1))
    side = cell * len(names) + (0.9 + 0.078 * longest)
    size = float(np.clip(cell * 20, 6.5, 9.5))
    total = int(counts.sum())
    with house_style(names):
        figure = new_figure(max(side + 0.9, 4.6), max(side + 0.6, 3.6))
        axes = figure.add_subplot()
        axes.imshow(colours, interpolation="nearest", aspect="equal")
        _write_counts(axes, counts, colours, size=float(np.clip(cell * 19, 6.0, 10.0)))
        # A letter is about two thirds as wide as the font size.
        _label_axes(axes, labels, counts, size=size, upright=longest * size * 0.66 / 72 > cell)
        title = f"{title} (n = {total:,}, {np.trace(counts):,} right)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, colours: np.ndarray, *, size: float) -> None:
    """Write each count that is not zero, in white where the cell is dark."""
    light = colours[..., :3] @ (0.2126, 0.7152, 0.0722) > 0.5
    for row, column in np.argwhere(counts > 0):
        axes.text(
            column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=size,
            fontweight="bold" if row == column else "normal",
            color=INK if light[row, column] else "white",
        )  # fmt: skip


def _label_axes(
    axes: Axes, names: list[str], counts: np.ndarray, *, size: float, upright: bool
) -> None:
    """Write class names on both axes, and n of each row."""
    ticks, totals = np.arange(len(names)), counts.sum(axis=1)
    rows = [f"{name}  {n}" for name, n in zip(names, totals, strict=True)]
    axes.set_xticks(ticks, names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(ticks, rows, fontsize=size)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(True)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("actual, with number of images", fontsize=10)


def save_confusion(table: pd.DataFrame, classes: Sequence[str], model: str, plots: Path) -> None:
    """Write `confusion_<model>.csv`, one row per image, and `.png` to the folder `plots`."""
    pairs = table[["class", "predicted"]].rename(columns={"class": "actual"})
    write_table(pairs, plots / f"confusion_{model}.csv")
    name = MODEL_NAMES[model]
    title = f"{name[0].upper()}{name[1:]}, test images"
    figure = confusion_matrix_figure(pairs["actual"], pairs["predicted"], classes, title=title)
    save_png(figure, plots / f"confusion_{model}.png")
