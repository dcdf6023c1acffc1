"""Contact sheets: many small images on one labelled picture."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from tissue.common.files import atomic_write
from tissue.data.shards import Shards
from tissue.images.duplicates import Images

GAP = 4  # pixels between tiles
INK = (30, 34, 39)
# Pixels of all tiles together; as 256 colours a sheet of tissue then stays below 1.5 MB.
AREA_BUDGET = 1_250_000
LARGEST_TILE, SMALLEST_TILE = 128, 40


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as shipped with matplotlib: the same letters on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def sample_sheet(
    images: np.ndarray | Shards, index: pd.DataFrame, *, per_class: int, seed: int
) -> Image.Image:
    """Draw a few samples of every class: a row for each class, its name and number at the left.

    Samples come from as many different groups (donors) as possible. Only the rows drawn are
    read, so `images` may be memory-mapped; the tile shrinks when there are many classes.

    Args:
        images: uint8 (N, S, S, 3), row i described by row i of `index`.
        index: with the columns `id`, `class` and, if known, `group`.
        per_class: the most samples to draw of a class.
        seed: which ones.
    """
    if len(images) != len(index):
        raise ValueError(
            f"Expected one index row for each image. Received: {len(images)} images and "
            f"{len(index)} rows."
        )
    names = sorted(index["class"].unique())
    tile = _tile_side(len(names) * per_class, images.shape[1])
    font = _font(max(11, round(tile * 0.165)))
    numbers = index["class"].value_counts()
    labels = {name: (name, f"n = {numbers[name]:,}") for name in names}
    indent = 3 * GAP + max(
        (int(font.getlength(text)) for pair in labels.values() for text in pair), default=0
    )
    sheet = _white(indent + per_class * (tile + GAP), len(names) * (tile + GAP) + GAP)
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        top = GAP + row * (tile + GAP)
        draw.multiline_text((GAP, top + tile // 4), "\n".join(labels[name]), fill=INK, font=font)
        for column, i in enumerate(_choose(index, name, per_class, [seed, row])):
            sheet.paste(_tile(images[i], tile), (indent + column * (tile + GAP), top))
    return sheet


class Row(NamedTuple):
    """Images uint8 (S, S, 3) in a row below a title, each above two lines of text."""

    title: str
    images: Sequence[np.ndarray]
    labels: Sequence[tuple[str, str]]


def titled_sheet(rows: Sequence[Row], *, columns: int, tile: int = 112) -> Image.Image:
    """Lay out rows of at most `columns` images; a row without any shows its title alone."""
    font, bold = _font(11), _font(13)
    line, head = 14, 24
    heights = [head + (tile + 2 * line + 2 * GAP if row.images else 0) for row in rows]
    sheet = _white(columns * (tile + GAP) + GAP, sum(heights) + GAP)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        draw.text((GAP, top + GAP), row.title, fill=INK, font=bold)
        for column, (image, label) in enumerate(zip(row.images, row.labels, strict=True)):
            left = GAP + column * (tile + GAP)
            sheet.paste(_tile(image, tile), (left, top + head))
            for number, text in enumerate(label):
                place = (left, top + head + tile + 1 + number * line)
                draw.text(place, _shorten(text, font, tile), fill=INK, font=font)
        top += height
    return sheet


def save_sheet(sheet: Image.Image, path: Path | str) -> None:
    """Write as PNG of 256 colours, a third of the size; `path` appears whole or not at all."""
    few = sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    with atomic_write(Path(path)) as partial:
        few.save(partial, "PNG", optimize=True)


def _choose(index: pd.DataFrame, name: str, number: int, seed: list[int]) -> list[int]:
    """Positions of up to `number` images of a class, spread over its groups, sorted by id."""
    rows = index.reset_index(drop=True)
    rows = rows[rows["class"] == name].sort_values("id")
    shuffled = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    if "group" in rows:
        turn = shuffled.groupby("group").cumcount().sort_values(kind="stable")
        shuffled = shuffled.loc[turn.index]
    return shuffled.head(number).sort_values("id").index.tolist()


def _tile_side(tiles: int, source: int) -> int:
    """Side in pixels that keeps the sheet within its budget and enlarges no image."""
    side = int((AREA_BUDGET / max(tiles, 1)) ** 0.5)
    return min(source, LARGEST_TILE, max(side, SMALLEST_TILE))


def _tile(image: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.LANCZOS)


def _white(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def _shorten(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The label, cut with an ellipsis where it is wider than its tile."""
    if font.getlength(label) <= width:
        return label
    while label and font.getlength(label + "…") > width:
        label = label[:-1]
    return label + "…"


COLUMNS = 8
MEASURES = (
    ("Least tissue", "tissue_fraction", True, "{:.0%} tissue"),
    ("Most blurred", "blur", False, "blur {:.2f}"),
    ("Weakest haematoxylin", "haematoxylin", True, "density {:.2f}"),
    ("Strongest haematoxylin", "haematoxylin", False, "density {:.2f}"),
    ("Weakest DAB", "dab", True, "density {:.2f}"),
    ("Strongest DAB", "dab", False, "density {:.2f}"),
)


def data_checks_sheet(images: Images, index: pd.DataFrame) -> Image.Image:
    """Draw the sheet; the same images and the same index give the same picture.

    Args:
        images: uint8 (N, S, S, 3).
        index: described by its rows, with the columns of `split` and `copies`, the number of each
            image's set of copies, and `assigned`, its split or `dropped`.
    """
    rows = [
        _copies(images, index, "Copies of one picture", "id"),
        _copies(images, index, "Copies in training and test", "side"),
        _copies(images, index, "Copies of different classes", "class"),
    ]
    for title, column, ascending, form in MEASURES:
        order = index.sort_values([column, "id"], ascending=[ascending, True]).index[:COLUMNS]
        labels = [
            (form.format(index.at[row, column]), _short(index.at[row, "id"])) for row in order
        ]
        rows.append(Row(title, [np.asarray(images[row]) for row in order], labels))
    return titled_sheet(rows, columns=COLUMNS)


def _copies(images: Images, index: pd.DataFrame, title: str, column: str) -> Row:
    """Show two copies of each set that has two values in a column: the first of either."""
    side = np.where(index["assigned"] == "test", "test", "training")
    table = index.assign(side=side).sort_values("id")
    first = table.drop_duplicates(["copies", column])
    several = first[first.groupby("copies")[column].transform("size") > 1]
    pairs = several.groupby("copies").head(2)
    start = pairs.groupby("copies")["id"].transform("min")
    pairs = pairs.assign(start=start).sort_values(["start", "id"])
    found = pairs["copies"].nunique()
    shown = pairs.head(COLUMNS)
    labels = [
        (f"{split}, {name}", _short(id_))
        for split, name, id_ in shown[["assigned", "class", "id"]].itertuples(index=False)
    ]
    title = f"{title}: {found} {'set' if found == 1 else 'sets'}"
    return Row(title, [np.asarray(images[row]) for row in shown.index], labels)


def _short(id_: str) -> str:
    return PurePosixPath(id_).stem
