"""The confusion matrix: which class was taken for which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tissue.common.files import write_table
from tissue.figures.theme import INK, MUTED, house_style, new_figure, save_png

# Right in blue, wrong in orange: on one linear scale the errors still stand out.
RIGHT = LinearSegmentedColormap.from_list("right", ["#FFFFFF", "#9DB9DC", "#2C5A9E", "#143766"])
WRONG = LinearSegmentedColormap.from_list("wrong", ["#FFFFFF", "#F3A76B", "#C2500A", "#7A2E00"])


def confusion_counts(
    actual: Sequence[str], predicted: Sequence[str], class_names: Sequence[str]
) -> np.ndarray:
    """Count images by class: int64 (K, K), a row for each actual, a column for each predicted.

    Raises:
        ValueError: if the two differ in length or hold a name that is not a class.
    """
    actual, predicted, names = list(actual), list(predicted), list(class_names)
    if len(actual) != len(predicted):
        raise ValueError(
            "Expected one predicted class for each actual class. "
            f"Received: {len(actual)} actual and {len(predicted)} predicted."
        )
    unknown = sorted((set(actual) | set(predicted)) - set(names))
    if unknown:
        raise ValueError(
            f"Expected only the classes {names}. Received: {unknown}. "
            "Pass every class name of classes.json."
        )
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    position = {name: i for i, name in enumerate(names)}
    rows = pd.Series(actual, dtype=object).map(position).to_numpy(dtype=np.int64)
    columns = pd.Series(predicted, dtype=object).map(position).to_numpy(dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Each row divided by its sum: float64 (K, K); a class without images gives zeros."""
    totals = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(totals, 1)


def confusion_matrix_figure(
    actual: Sequence[str],
    predicted: Sequence[str],
    class_names: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Draw counts on colours that are shares of the row; recall at the right, n in the title.

    Args:
        actual, predicted: one class name for each image.
        class_names: every class, in the order of the axes; 2 to 40 stay readable.
    """
    names = list(class_names)
    counts = confusion_counts(actual, predicted, names)
    shares = row_shares(counts)
    cell = float(np.clip(7.0 / len(names), 0.29, 0.62 if len(names) > 4 else 1.1))
    side = cell * len(names)
    margin = 0.9 + 0.078 * max(len(name) for name in names)
    with house_style():
        figure = new_figure(max(side + margin + 0.9, 4.6), max(side + margin + 0.6, 3.6))
        axes = figure.add_subplot()
        axes.imshow(_cell_colours(shares), interpolation="nearest", aspect="equal")
        _write_counts(axes, counts, shares, size=float(np.clip(cell * 19, 6.0, 10.0)))
        size = float(np.clip(cell * 20, 6.5, 9.5))
        _label_axes(axes, names, counts, size=size, upright=_wider(names, size, cell))
        right = int(np.trace(counts))
        total = int(counts.sum())
        share = f", {right / total:.1%} right" if total else ""
        figure.suptitle(
            f"{title} (n = {total:,}{share})", x=0.01, ha="left", fontsize=11, fontweight="bold"
        )
    return figure


def _cell_colours(shares: np.ndarray) -> np.ndarray:
    """RGBA float (K, K, 4): the diagonal from one colour map, the rest from the other."""
    diagonal = np.eye(len(shares), dtype=bool)[..., None]
    return np.where(diagonal, RIGHT(shares), WRONG(shares))


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, *, size: float) -> None:
    """Write each count that is not zero, in white where the cell is dark."""
    light = _cell_colours(shares)[..., :3] @ (0.2126, 0.7152, 0.0722) > 0.5
    for row, column in np.argwhere(counts > 0):
        axes.text(
            column,
            row,
            f"{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=size,
            fontweight="bold" if row == column else "normal",
            color=INK if light[row, column] else "white",
        )


def _wider(names: list[str], size: float, cell: float) -> bool:
    """Whether the longest name is wider than a cell, at two thirds of the font size a letter."""
    return max(len(name) for name in names) * size * 0.66 / 72 > cell


def _label_axes(
    axes: Axes, names: list[str], counts: np.ndarray, *, size: float, upright: bool
) -> None:
    """Class names on both axes, n of each row at the left and recall at the right."""
    ticks = np.arange(len(names))
    totals = counts.sum(axis=1)
    axes.set_xticks(ticks, names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(
        ticks, [f"{name}  {n}" for name, n in zip(names, totals, strict=True)], fontsize=size
    )
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="#E4E7EA", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(True)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("actual, with number of images", fontsize=10)
    recall = axes.secondary_yaxis("right")
    hits = np.diag(counts)
    recall.set_yticks(
        ticks,
        [f"{hit / n:.0%}" if n else "" for hit, n in zip(hits, totals, strict=True)],
        fontsize=size,
    )
    recall.tick_params(length=0, labelcolor=MUTED)
    recall.set_ylabel("recall", fontsize=9, color=MUTED)


def save_confusion(table: pd.DataFrame, classes: Sequence[str], model: str, plots: Path) -> None:
    """Write `confusion_<model>.csv`, a row an image, and `.png` to the folder `plots`."""
    actual, predicted = table["class"], table["predicted"]
    pairs = pd.DataFrame({"actual": actual, "predicted": predicted})
    write_table(pairs, plots / f"confusion_{model}.csv")
    title = {"scratch": "CNN from scratch", "pretrained": "Pretrained net"}[model]
    figure = confusion_matrix_figure(actual, predicted, classes, title=f"{title}, test images")
    save_png(figure, plots / f"confusion_{model}.png")
