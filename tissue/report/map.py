"""The interactive t-SNE: an empty plot of Bokeh, which the page fills and filters."""

import re
from typing import Any

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool, TapTool, Text
from bokeh.plotting import figure
from bokeh.resources import Resources

from tissue.figures.theme import INK
from tissue.report.records import as_json

COLUMNS = ("x", "y", "image", "colour", "marker", "size", "fill", "line")


def library() -> str:
    """Return BokehJS from the installed package, so that nothing is downloaded."""
    scripts = Resources(mode="inline", components=["bokeh"], log_level="error").js_raw
    # The bundle contains `</script`, which would end its own element.
    return "\n".join(scripts).replace("</script", "<\\/script")


def map_item() -> str:
    """Return the plot as JSON, the same text in every process and at every call."""
    plot = figure(
        height=540, sizing_mode="stretch_width", tools="pan,box_zoom,reset",
        active_drag="box_zoom", toolbar_location="above", output_backend="canvas",
        background_fill_color="white", border_fill_color="white", outline_line_color=None,
    )  # fmt: skip
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
    # Class names have a background of their own, so that they are legible above the points.
    label: dict[str, Any] = {
        "text_align": "center", "text_baseline": "middle", "text_color": INK, "padding": 2,
        "text_font_size": "12px", "text_font_style": "bold", "border_radius": 3,
        "background_fill_color": "white", "background_fill_alpha": 0.75,
    }  # fmt: skip
    plot.add_glyph(_source("names", ("x", "y", "text")), Text(x="x", y="y", text="text", **label))
    # Without tooltips: the image under the pointer is shown beside the map, where there is room.
    plot.add_tools(
        HoverTool(tooltips=None, renderers=[drawn]), TapTool(renderers=[drawn], mode="replace")
    )
    # Bokeh numbers models through a process; here they are numbered by first appearance.
    numbers: dict[str, int] = {}
    return re.sub(
        r'"p(\d+)"',
        lambda found: f'"p{numbers.setdefault(found[1], len(numbers) + 1)}"',
        as_json(json_item(plot)),
    )


def _source(name: str, columns: tuple[str, ...]) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)
