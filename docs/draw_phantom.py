"""Draw the sheet of examples: `python -m docs.draw_phantom docs/phantom.png`.

Three cores of each class of the default phantom, of three donors.
"""

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tissue.phantom.core import draw_jpeg
from tissue.phantom.plan import CLASSES, Core, plan_cores

CORES_PER_CLASS = 3
CLASSES_PER_ROW = 3
MARGIN, LABEL = 6, 24


def main() -> None:
    """Read the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=160, help="of one core, pixels (default 160)")
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    cores = plan_cores(train_per_class=60, test_per_class=30, size=448, seed=given.seed)
    sheet(cores, side=given.side).quantize(256).save(given.out, optimize=True)


def sheet(cores: list[Core], *, side: int) -> Image.Image:
    """Return a labelled sheet, RGB, of a few cores per class, each `side` pixels wide."""
    width, height = CORES_PER_CLASS * side + MARGIN, LABEL + side + MARGIN
    rows = -(-len(CLASSES) // CLASSES_PER_ROW)
    page = Image.new("RGB", (CLASSES_PER_ROW * width + MARGIN, rows * height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for label, name in enumerate(CLASSES):
        row, column = divmod(label, CLASSES_PER_ROW)
        left, top = MARGIN + column * width, row * height
        pen.text((left + 2, top + 4), name, fill="black", font=font)
        for k, core in enumerate(_examples(cores, label)):
            image = Image.open(io.BytesIO(draw_jpeg(core)))
            small = image.resize((side, side), Image.Resampling.LANCZOS)
            page.paste(small, (left + k * side, top + LABEL))
    return page


def _examples(cores: list[Core], label: int) -> list[Core]:
    """Return a few cores of a class, of different donors and slides."""
    cores = [core for core in cores if core.class_name == CLASSES[label]]
    start = 23 * label % len(cores)
    first: dict[str, Core] = {}
    for core in cores[start:] + cores[:start]:
        first.setdefault(core.donor, core)
    return list(first.values())[: 3 * CORES_PER_CLASS : 3]


if __name__ == "__main__":
    main()
