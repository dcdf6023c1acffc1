"""The t-SNE to zoom and to point at: an empty plot of Bokeh, which the page fills and filters."""

import re
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool, TapTool, Text
from bokeh.plotting import figure
from bokeh.resources import Resources

from tissue.figures.theme import INK
from tissue.report.records import as_json

COLUMNS = ("x", "y", "image", "colour", "marker", "size", "fill", "line")
# The names of classes stand on a ground of their own, to be read above the points.
LABEL: dict[str, Any] = {
    "padding": 2,
    "border_radius": 3,
    "background_fill_color": "white",
    "background_fill_alpha": 0.75,
}


def library() -> str:
    """BokehJS as it lies in the package of Bokeh, of the same version: nothing is downloaded."""
    scripts = Resources(mode="inline", components=["bokeh"], log_level="error").js_raw
    # The same bundle would end its own script element early.
    return "\n".join(scripts).replace("</script", "<\\/script")


def map_item() -> str:
    """The plot as JSON; the same text in every process and at every call."""
    plot = figure(
        height=540,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset",
        active_drag="box_zoom",
        toolbar_location="above",
        output_backend="canvas",
        background_fill_color="white",
        border_fill_color="white",
        outline_line_color=None,
    )
    plot.axis.visible = False
    plot.grid.grid_line_color = "#EEF0F2"
    plot.toolbar.logo = None
    drawn = plot.scatter(
        "x", "y", marker="marker", size="size", fill_color="colour", line_color="line",
        fill_alpha="fill", line_width=1.2, source=_source("points", COLUMNS),
        nonselection_fill_alpha="fill", nonselection_line_alpha=1.0,
    )  # fmt: skip
    plot.scatter(
        "x", "y", size=20, fill_color=None, line_color=INK, line_width=2.5,
        source=_source("ring", ("x", "y")),
    )  # fmt: skip
    plot.add_glyph(
        _source("names", ("x", "y", "text")),
        Text(
            x="x", y="y", text="text", text_align="center", text_baseline="middle",
            text_font_size="12px", text_font_style="bold", text_color=INK, **LABEL,
        ),
    )  # fmt: skip
    # Without tooltips: what is pointed at is shown beside the map, where there is room for it.
    plot.add_tools(
        HoverTool(tooltips=None, renderers=[drawn]), TapTool(renderers=[drawn], mode="replace")
    )
    return as_json(_renumbered(json_item(plot)))


def _source(name: str, columns: tuple[str, ...]) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _renumbered(item: Any) -> Any:
    """Models are numbered on through a process; here by first appearance instead."""
    seen: dict[str, str] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(one) for key, one in value.items()}
        if isinstance(value, list):
            return [walk(one) for one in value]
        if isinstance(value, str) and re.fullmatch(r"p\d+", value):
            return seen.setdefault(value, f"p{len(seen) + 1}")
        return value

    return walk(item)
