"""Figures as PNG: the same figure gives the same bytes, and a file is never half written."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from stages.dataset.files import replacing
from stages.figures.theme import house_style


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG at its own resolution, without the name and version of the software."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path | str) -> None:
    """Write the figure as PNG; `path` appears whole or not at all."""
    with replacing(Path(path)) as partial:
        partial.write_bytes(png_bytes(figure))
