"""The overview of a tissue microarray with the cores that were found, for a person to check."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tissue.common.files import atomic_write
from tissue.figures.lettering import drawable, label_names
from tissue.figures.theme import INK, MODEL_COLOURS
from tissue.slides.core_tables import Known, Place, core_name
from tissue.slides.cores import WHOLE, Core

LEAST_DIAMETER = 70  # pixels of a core on the picture, so that its name can be read
LETTER = 6  # a letter is this much smaller than a core
TORN, FOUND = MODEL_COLOURS["scratch"], MODEL_COLOURS["pretrained"]
DASHES = 24  # around the circle of a missing core


def draw_cores(
    overview: NDArray[np.uint8], cores: Iterable[Core], known: Mapping[Place, Known], path: Path
) -> None:
    """Write a PNG: a blue circle for a core, brown for a torn one, dashes for a missing one.

    Args:
        overview: RGB uint8 (H, W, 3).
        cores: in its pixels.
        known: what is written below the name of a core.
        path: of the picture.
    """
    cores = list(cores)
    diameter = float(np.median([core.diameter for core in cores]))
    scale = max(1, round(LEAST_DIAMETER / diameter))
    size = (overview.shape[1] * scale, overview.shape[0] * scale)
    image = Image.fromarray(overview).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(scale * diameter / LETTER)
    written = label_names({one.class_name for one in known.values()})
    for core in cores:
        place = (core.row, core.column)
        x, y, radius = (scale * value for value in (core.x, core.y, core.diameter / 2))
        _draw_circle(draw, (x - radius, y - radius, x + radius, y + radius), core.tissue)
        text = core_name(*place)
        if place in known:
            text += f"\n{drawable(written[known[place].class_name])}"
        draw.text(
            (x, y), text, fill=INK, font=font, anchor="mm", align="center",
            stroke_width=2, stroke_fill="white",
        )  # fmt: skip
    with atomic_write(path) as partial:
        image.save(partial, "PNG")


def _draw_circle(
    draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], tissue: float
) -> None:
    if tissue > 0:
        draw.ellipse(box, outline=FOUND if tissue >= WHOLE else TORN, width=3)
        return
    step = 360 / DASHES
    for number in range(DASHES):
        draw.arc(box, number * step, (number + 0.5) * step, fill=INK, width=2)
