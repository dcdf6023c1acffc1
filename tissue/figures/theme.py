"""How every figure of the project looks: fonts, colours and markers, in one place.

Figures are drawn on matplotlib's Agg canvas through `matplotlib.figure.Figure`: no pyplot, no
global state, no display. The two model colours are those of the stains on the slides, DAB brown
and haematoxylin blue, which colour-blind readers can tell apart; the page uses the same two.
"""

import io
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from tissue.common.files import atomic_write
from tissue.figures.lettering import families

MODEL_COLOURS = {"scratch": "#9A5412", "pretrained": "#2C5A9E"}
INK = "#1E2227"
MUTED = "#5C6570"
PALE = "#D3D7DC"
GRID = "#E4E7EA"

# Twelve colours that differ in normal vision and, together with the marker, in protanopia and
# deuteranopia (after Okabe and Ito, and P. Tol's "muted" scheme).
CLASS_COLOURS = (
    "#0072B2", "#D55E00", "#117733", "#CC79A7", "#E69F00", "#332288",
    "#44AA99", "#882255", "#56B4E9", "#999933", "#555555", "#E4572E",
)  # fmt: skip
# Seven markers and twelve colours: the pair repeats only after 84 classes.
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CLASS_STYLES = len(CLASS_COLOURS) * len(CLASS_MARKERS)

_SETTINGS = {
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.dpi": 150.0,
    "savefig.dpi": 150.0,
    "text.parse_math": False,  # a class may be called "a$b$"
}


def house_style(names: Iterable[str] = ()) -> AbstractContextManager[None]:
    """Return a context with these settings, whatever the user's matplotlibrc says.

    Args:
        names: of classes that will be written, for fonts that have their letters.
    """
    return matplotlib.style.context(["default", {**_SETTINGS, "font.family": families(names)}])


def class_style(position: int) -> tuple[str, str]:
    """Return colour and marker of the class at this position of the sorted class names."""
    return (
        CLASS_COLOURS[position % len(CLASS_COLOURS)],
        CLASS_MARKERS[position % len(CLASS_MARKERS)],
    )


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure with constrained layout, size in inches."""
    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as PNG, without the name and version of the software."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path, *, shared: bool = False) -> None:
    """Write the figure as PNG, atomically; see `atomic_write` for `shared`."""
    with atomic_write(path, shared=shared) as partial:
        partial.write_bytes(png_bytes(figure))
