"""How much the padding of images that are not square gives away: `python -m benchmarks.padding`.

Reads training and validation set of `data/split`, whose images are square, and gives the images of
each class a height of their own, from half of the width to all of it: the aspect ratio tells the
class. A linear classifier of the frozen backbone's features of one view is trained on these images
and tested on validation, of other donors, where the aspect ratio (a) tells the class as well, (b)
is that of another class. What (a) has more than (b) is the shortcut. About half a minute on two
cores.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from benchmarks.probe import embed, fit
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Split
from tissue.data.index import Dataset, read_split
from tissue.images.decoding import decode
from tissue.metrics.intervals import mean_interval

NARROWEST = 0.5  # height of the images of the first class, as a share of the width


def with_height(
    dataset: Dataset, heights: NDArray[np.float64], settings: Split
) -> NDArray[np.uint8]:
    """Return the images cut to a share of their height (N,), and padded to squares again."""
    side = dataset.images.shape[1]
    cut = np.rint(heights * side).astype(int)
    squares = []
    for image, height in zip(dataset.images, cut, strict=True):
        top, buffer = (side - height) // 2, io.BytesIO()
        Image.fromarray(np.asarray(image)[top : top + height]).save(buffer, "PNG")
        squares.extend(decode(buffer.getvalue(), settings, sizes=(side,))[0])
    return np.stack(squares)


def measure(data: Path, settings: Split, *, backbone: str, weights: str) -> pd.DataFrame:
    """Return a table of what the aspect ratio tells, accuracy, its interval, and n."""
    train, val = read_split(data, "train"), read_split(data, "val")
    classes = int(train.labels.max()) + 1
    heights = np.linspace(NARROWEST, 1, classes)
    how = {"backbone": backbone, "weights": weights}
    classifier = fit(embed(with_height(train, heights[train.labels], settings), **how), train)
    rows = []
    for told, label in (
        ("the class", val.labels),
        ("another class", (val.labels + classes // 2) % classes),
    ):
        features = embed(with_height(val, heights[label], settings), **how)
        right = classifier.predict(features) == val.labels
        low, high = mean_interval(right, val.index)
        rows.append((told, right.mean(), low, high, len(right)))
    return pd.DataFrame(rows, columns=["aspect_tells", "accuracy", "low", "high", "n"]).round(3)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    params = load_params()
    table = measure(
        Path("data/split"), params.split, backbone="efficientnet_lite0", weights="packaged"
    )
    print(table.to_string(index=False))


if __name__ == "__main__":
    with command("padding"):
        main()
