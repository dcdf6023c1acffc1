"""Draw the sheet of examples: `python -m docs.draw_phantom docs/phantom.png`.

Three cores of each class of the default phantom, of three donors.
"""

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tissue.phantom.core import draw_jpeg
from tissue.phantom.plan import CLASSES, Core, cores

ACROSS = 3  # cores a class
CLASSES_A_ROW = 3
MARGIN, LABEL = 6, 24


def main() -> None:
    """Read the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=160, help="of one core, pixels (default 160)")
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    plan = cores(train_per_class=60, test_per_class=30, size=448, seed=given.seed)
    page = sheet(plan, side=given.side)
    page.quantize(256).save(given.out, optimize=True)


def sheet(plan: list[Core], *, side: int) -> Image.Image:
    """Return a labelled sheet, RGB, with ACROSS cores a class, each `side` pixels wide."""
    width, height = ACROSS * side + MARGIN, LABEL + side + MARGIN
    rows = -(-len(CLASSES) // CLASSES_A_ROW)
    page = Image.new("RGB", (CLASSES_A_ROW * width + MARGIN, rows * height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for k, name in enumerate(CLASSES):
        left = MARGIN + (k % CLASSES_A_ROW) * width
        top = (k // CLASSES_A_ROW) * height
        pen.text((left + 2, top + 4), name, fill="black", font=font)
        for j, core in enumerate(_examples(plan, k)):
            image = Image.open(io.BytesIO(draw_jpeg(core)))
            small = image.resize((side, side), Image.Resampling.LANCZOS)
            page.paste(small, (left + j * side, top + LABEL))
    return page


def _examples(plan: list[Core], label: int) -> list[Core]:
    """Return ACROSS cores of a class, each of another donor and slide."""
    mine = [core for core in plan if core.class_name == CLASSES[label]]
    start = 23 * label % len(mine)
    first: dict[str, Core] = {}
    for core in mine[start:] + mine[:start]:
        first.setdefault(core.donor, core)
    return list(first.values())[: 3 * ACROSS : 3]


if __name__ == "__main__":
    main()
