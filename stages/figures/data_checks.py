"""A sheet of what the data checks found: copies, and the pictures at the ends of each measure."""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from PIL.Image import Image

from stages.images.duplicates import Images
from stages.images.sheets import Row, titled_sheet

COLUMNS = 8
MEASURES = (
    ("Least tissue", "tissue_fraction", True, "{:.0%} tissue"),
    ("Most blurred", "blur", False, "blur {:.2f}"),
    ("Weakest haematoxylin", "haematoxylin", True, "density {:.2f}"),
    ("Strongest haematoxylin", "haematoxylin", False, "density {:.2f}"),
    ("Weakest DAB", "dab", True, "density {:.2f}"),
    ("Strongest DAB", "dab", False, "density {:.2f}"),
)


def data_checks(images: Images, index: pd.DataFrame) -> Image:
    """Draw the sheet; the same images and the same index give the same picture.

    Args:
        images: uint8 (N, S, S, 3).
        index: described by its rows, with the columns of `split` and `copies`, the number of each
            image's set of copies, and `part`, which may be `dropped`.
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
    side = np.where(index["part"] == "test", "test", "training")
    table = index.assign(side=side).sort_values("id")
    first = table.drop_duplicates(["copies", column])
    several = first[first.groupby("copies")[column].transform("size") > 1]
    pairs = several.groupby("copies").head(2)
    start = pairs.groupby("copies")["id"].transform("min")
    pairs = pairs.assign(start=start).sort_values(["start", "id"])
    found = pairs["copies"].nunique()
    shown = pairs.head(COLUMNS)
    labels = [
        (f"{part}, {name}", _short(id_))
        for part, name, id_ in shown[["part", "class", "id"]].itertuples(index=False)
    ]
    title = f"{title}: {found} {'set' if found == 1 else 'sets'}"
    return Row(title, [np.asarray(images[row]) for row in shown.index], labels)


def _short(id_: str) -> str:
    return PurePosixPath(id_).stem
