"""Contact sheets: many small images on one labelled picture."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from tissue.common.files import atomic_write
from tissue.data.index import FORMS
from tissue.data.shards import Shards
from tissue.figures.lettering import drawable, font_of, label_names
from tissue.images.duplicates import Images

GAP = 4  # pixels between tiles
INK = (30, 34, 39)
# Pixels of all tiles together; as 256 colours a sheet of tissue then stays below 1.5 MB.
AREA_BUDGET = 1_250_000
LARGEST_TILE, SMALLEST_TILE = 128, 40
TILE = 112  # of a sheet of titled rows
COLUMNS = 8  # likewise
# Title, column, whether the lowest values come first, and how the value is written.
MEASURES = (
    ("Least tissue", "tissue_fraction", True, f"{FORMS['tissue_fraction']} tissue"),
    ("Most blurred", "blur", False, f"blur {FORMS['blur']}"),
    ("Weakest haematoxylin", "haematoxylin", True, f"density {FORMS['haematoxylin']}"),
    ("Strongest haematoxylin", "haematoxylin", False, f"density {FORMS['haematoxylin']}"),
    ("Weakest DAB", "dab", True, f"density {FORMS['dab']}"),
    ("Strongest DAB", "dab", False, f"density {FORMS['dab']}"),
)
Row = tuple[str, list[tuple[Image.Image, tuple[str, str]]]]  # title, and tiles with two texts


@cache
def _font(size: int, text: str = "") -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans as shipped with matplotlib, or another font that has these letters."""
    return ImageFont.truetype(font_of(text), size)


def sample_sheet(
    images: np.ndarray | Shards, index: pd.DataFrame, *, per_class: int, seed: int
) -> Image.Image:
    """Draw a few samples of every class: one row per class, labelled with its name and size.

    Samples come from as many different groups (donors) as possible. Only the rows drawn are
    read, so `images` may be memory-mapped; tiles shrink when there are many classes.

    Args:
        images: uint8 (N, S, S, 3), row i described by row i of `index`.
        index: with the columns `id`, `class` and, if known, `group`.
        per_class: the most samples to draw of a class.
        seed: of the choice of samples.
    """
    if len(images) != len(index):
        raise ValueError(
            f"Expected one index row for each image. Received: {len(images)} images and "
            f"{len(index)} rows."
        )
    names = sorted(index["class"].unique())
    tile = _tile_side(len(names) * per_class, images.shape[1])
    numbers, shown = index["class"].value_counts(), label_names(names)
    labels = {name: (shown[name], f"n = {numbers[name]:,}") for name in names}
    fonts = {name: _font(max(11, round(tile * 0.165)), shown[name]) for name in names}
    widths = (fonts[name].getlength(text) for name in names for text in labels[name])
    indent = 3 * GAP + max(map(int, widths))
    size = (indent + per_class * (tile + GAP), len(names) * (tile + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        top = GAP + row * (tile + GAP)
        draw.multiline_text(
            (GAP, top + tile // 4), "\n".join(labels[name]), fill=INK, font=fonts[name]
        )
        for column, i in enumerate(_choose(index, name, per_class, [seed, row])):
            sheet.paste(_tile(images[i], tile), (indent + column * (tile + GAP), top))
    return sheet


def _choose(index: pd.DataFrame, name: str, number: int, seed: list[int]) -> list[int]:
    """Return up to `number` row numbers of a class, spread over its groups, sorted by id."""
    rows = index.reset_index(drop=True)
    rows = rows[rows["class"] == name].sort_values("id")
    shuffled = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    if "group" in rows:
        turn = shuffled.groupby("group").cumcount().sort_values(kind="stable")
        shuffled = shuffled.loc[turn.index]
    return shuffled.head(number).sort_values("id").index.tolist()


def _tile_side(tiles: int, source: int) -> int:
    """Return the side in pixels that keeps the sheet within its budget and enlarges no image."""
    side = int((AREA_BUDGET / max(tiles, 1)) ** 0.5)
    return min(source, LARGEST_TILE, max(side, SMALLEST_TILE))


def data_checks_sheet(images: Images, index: pd.DataFrame) -> Image.Image:
    """Draw pairs of copies, then the images with the extreme values of each measure.

    Args:
        images: uint8 (N, S, S, 3), row i described by row i of `index`.
        index: with the columns of `data/split`; `copies`, the number of the image's set of copies;
            and `assigned`, its split or `dropped`.
    """
    rows = [
        _copies(images, index, "Copies of one picture", "id"),
        _copies(images, index, "Copies in training and test", "side"),
        _copies(images, index, "Copies of different classes", "class"),
    ]
    for title, column, ascending, form in MEASURES:
        extreme = index.sort_values([column, "id"], ascending=[ascending, True]).head(COLUMNS)
        rows.append(_row(title, images, extreme, extreme[column].map(form.format)))
    return _titled_sheet(rows)


def _row(title: str, images: Images, shown: pd.DataFrame, texts: pd.Series) -> Row:
    """Return a row of images, each with a text and the last part of its id."""
    names = zip(shown.index, texts, shown["id"], strict=True)
    tiles = [(_tile(images[i], TILE), (text, PurePosixPath(id_).stem)) for i, text, id_ in names]
    return title, tiles


def _copies(images: Images, index: pd.DataFrame, title: str, column: str) -> Row:
    """Return two copies of each set that has two values in a column: the first of either."""
    side = np.where(index["assigned"] == "test", "test", "training")
    table = index.assign(side=side).sort_values("id")
    first = table.drop_duplicates(["copies", column])
    several = first[first.groupby("copies")[column].transform("size") > 1]
    pairs = several.groupby("copies").head(2)
    start = pairs.groupby("copies")["id"].transform("min")
    shown = pairs.assign(start=start).sort_values(["start", "id"]).head(COLUMNS)
    found = pairs["copies"].nunique()
    title = f"{title}: {found} {'set' if found == 1 else 'sets'}"
    return _row(title, images, shown, shown["assigned"] + ", " + shown["class"])


def _titled_sheet(rows: Sequence[Row]) -> Image.Image:
    """Lay out rows of at most `COLUMNS` images; a row without any shows its title alone."""
    bold = _font(13)
    line, head = 14, 24
    heights = [head + (TILE + 2 * line + 2 * GAP if tiles else 0) for _, tiles in rows]
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, sum(heights) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for (title, tiles), height in zip(rows, heights, strict=True):
        draw.text((GAP, top + GAP), title, fill=INK, font=bold)
        for column, (tile, label) in enumerate(tiles):
            left = GAP + column * (TILE + GAP)
            sheet.paste(tile, (left, top + head))
            for number, text in enumerate(label):
                corner = (left, top + head + TILE + 1 + number * line)
                font = _font(11, drawable(text))
                draw.text(corner, _shortened(drawable(text), font), fill=INK, font=font)
        top += height
    return sheet


def _shortened(label: str, font: ImageFont.FreeTypeFont) -> str:
    """Return the label, cut with an ellipsis where it is wider than its tile."""
    if font.getlength(label) <= TILE:
        return label
    while label and font.getlength(label + "…") > TILE:
        label = label[:-1]
    return label + "…"


def _tile(image: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.LANCZOS)


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a PNG of 256 colours, a third of the size, atomically."""
    few = sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    with atomic_write(path) as partial:
        few.save(partial, "PNG", optimize=True)
