"""A joint two-dimensional embedding (t-SNE) of one or several splits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from tissue.figures.lettering import label_names
from tissue.figures.theme import (
    CLASS_STYLES,
    INK,
    MUTED,
    PALE,
    class_style,
    house_style,
    new_figure,
)

COLUMNS = ("split", "class", "x", "y")
ROWS = 28  # of the legend
WIDTH = 2.0  # inches, of each column of the legend but the first
REACH = range(-12, 13)  # steps by which a name may move, a quarter of its width, half its height
NAMES_IN_PLOT = 15  # with more classes than this the names would hide the points


def scatter_figure(
    frame: pd.DataFrame,
    *,
    title: str,
    splits: Sequence[str] = ("train", "test"),
    compact: bool = False,
) -> Figure:
    """Draw splits by class: training images filled, all others outlined.

    Colours, markers and limits come from the whole frame, so that figures of train, test and both
    can be laid over each other.

    Args:
        frame: one row per image, with the columns `COLUMNS`.
        title: what was embedded; the number of images of each split is added.
        splits: which splits to draw, the first at the bottom.
        compact: without a legend, for a third of the width of a page.

    Raises:
        ValueError: if a column is missing or no image belongs to these splits.
    """
    _check(frame, splits)
    names = sorted(frame["class"].unique())
    listed = names if len(names) <= CLASS_STYLES else []  # beyond that, styles repeat
    columns = -(-(len(listed) + 2) // ROWS)  # with the two splits, so that all figures match
    with house_style(names):
        figure = new_figure(*(3.6, 3.1) if compact else (6.6 + WIDTH * (columns - 1), 5.2))
        axes = figure.add_subplot()
        for split in splits:
            _draw_split(axes, frame, names, split)
        _frame_limits(axes, frame)
        if not compact:
            _add_legend(figure, listed, splits, columns=columns)
        counted = ", ".join(f"{(frame['split'] == name).sum():,} {name}" for name in splits)
        how = {"fontsize": 8 if compact else 10, "fontweight": "bold"}
        figure.suptitle(f"{title} (n = {counted})", x=0.01, ha="left", **how)
        if len(names) <= NAMES_IN_PLOT:
            _write_names(axes, frame[frame["split"].isin(splits)], compact=compact)
    return figure


def _check(frame: pd.DataFrame, splits: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(
            f"Expected the columns {', '.join(COLUMNS)}. "
            f"Received: {list(frame.columns)}; missing {missing}."
        )
    if not frame["split"].isin(splits).any():
        raise ValueError(
            f"Expected images of the splits {list(splits)}. "
            f"Received: {len(frame)} rows of {sorted(frame['split'].unique())}."
        )


def _draw_split(axes: Axes, frame: pd.DataFrame, names: list[str], split: str) -> None:
    """Draw one scatter per class, since a scatter has one marker."""
    filled = split == "train"
    area = float(np.clip(18_000 / len(frame), 4, 26))
    for position, name in enumerate(names):
        colour, marker = class_style(position)
        rows = frame[(frame["split"] == split) & (frame["class"] == name)]
        axes.scatter(
            rows["x"], rows["y"], s=area if filled else area * 1.5, marker=marker,
            facecolors=colour if filled else "none", edgecolors="white" if filled else colour,
            linewidths=0.25 if filled else 1.1, alpha=0.8 if filled else 1.0,
        )  # fmt: skip


def _write_names(axes: Axes, points: pd.DataFrame, *, compact: bool) -> None:
    """Write each class name near the median of its images, where it covers no other name."""
    middle = points.groupby("class", sort=True)[["x", "y"]].median()
    labels = label_names(map(str, middle.index))
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # the layout is known only then
    placed, frame = list[Bbox](), axes.get_window_extent()
    for name, place in zip(labels, middle.to_numpy(), strict=True):
        text = axes.text(
            place[0], place[1], labels[name], ha="center", va="center", color=INK,
            fontsize=7.0 if compact else 8.5,
            path_effects=[withStroke(linewidth=2.6, foreground=(1, 1, 1, 0.85))],
        )  # fmt: skip
        box = text.get_window_extent(canvas.get_renderer())
        moves = [(i * box.width / 4, j * box.height / 2) for i in REACH for j in REACH]
        for move in sorted(moves, key=lambda one: (one[0] ** 2 + one[1] ** 2, one)):
            moved = box.translated(*move).padded(1)
            inside = frame.x0 <= moved.x0 and moved.x1 <= frame.x1
            inside &= frame.y0 <= moved.y0 and moved.y1 <= frame.y1
            if inside and not any(moved.overlaps(other) for other in placed):
                box = moved
                break
        centre = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        x, y = axes.transData.inverted().transform(centre)
        text.set_position((float(x), float(y)))
        placed.append(box)


def _frame_limits(axes: Axes, points: pd.DataFrame) -> None:
    """Set the same limits for every figure of this frame, which its points fill.

    Axes of a t-SNE have no unit, so both need not have one scale.
    """
    for low, high, limit in (
        (points["x"].min(), points["x"].max(), axes.set_xlim),
        (points["y"].min(), points["y"].max(), axes.set_ylim),
    ):
        margin = 0.03 * max(high - low, 1e-9)
        limit(low - margin, high + margin)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=PALE)


def _add_legend(figure: Figure, names: list[str], splits: Sequence[str], *, columns: int) -> None:
    """List the classes by colour and marker and, if there are several, the splits."""
    handles = []
    for position, name in enumerate(label_names(names).values()):
        colour, marker = class_style(position)
        handles.append(_handle(name, color=colour, marker=marker))
    if len(splits) > 1:
        for split in splits:
            face, word = (MUTED, "filled") if split == "train" else ("none", "outlined")
            label = f"{split}: {word}"
            handles.append(_handle(label, color=MUTED, marker="o", markerfacecolor=face))
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, ncols=columns)


def _handle(label: str, **style: Any) -> Line2D:
    return Line2D([], [], linestyle="", markersize=6, label=label, **style)
