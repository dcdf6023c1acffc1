"""Decode, check and divide the images: `python -m stages.split`.

Reads `data/raw`. Writes `data/split/`: for training, validation and test an array of images and a
table that describes its rows, the class names, and the images that could not be read;
`metrics/split.json`; and a sheet of samples of training and test.

A test set that the source gives is kept; otherwise one is made. Validation is taken from training.
Both are taken by whole groups: donors, else slides, else clusters of near-duplicates, so that no
donor stands on both sides. On the default: 576 + 144 + 360 images, in about 15 s on two cores.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.cli.running import run_command
from stages.dataset.checking import check_counts, check_rejected
from stages.dataset.files import replacing, write_json, write_table
from stages.dataset.index import PARTS, read_index, read_part
from stages.dataset.parts import divide, read_donors, summarise
from stages.images.duplicates import near_duplicate_pairs
from stages.images.reading import CHUNK, read_images
from stages.images.sheets import sample_sheet, save_sheet
from stages.params.loading import load_params
from stages.params.schema import Split

COLUMNS = [
    "id", "class", "label", "group", "sha256", "source", "donor", "slide", "antibody",
    "width", "height", "tissue_fraction", "blur", "haematoxylin", "dab",
]  # fmt: skip
SAMPLES_PER_CLASS = 6


def run(
    settings: Split,
    *,
    seed: int,
    image_size: int,
    workers: int,
    raw: Path = Path("data/raw"),
    out: Path = Path("data/split"),
    metrics: Path = Path("metrics"),
    plots: Path = Path("plots"),
) -> None:
    """Divide the images of `raw` into training, validation and test part.

    Raises:
        ValueError: if too many images are unreadable, or a class has too few.
    """
    manifest = read_index(raw / "manifest.csv")
    check_counts(manifest, settings.min_per_class)
    if settings.metadata is not None:
        manifest["donor"] = read_donors(Path(settings.metadata), manifest["id"])
    with replacing(out) as partial:
        partial.mkdir()
        array = partial / "all.npy"
        read, prints = read_images(
            manifest, raw, array,
            size=image_size, max_pixels=settings.max_pixels, workers=workers,
        )  # fmt: skip
        rejected = manifest[["id"]].join(read["reason"])[read["reason"] != ""]
        check_rejected(rejected, len(manifest), settings.max_rejected)
        write_table(rejected, partial / "rejected.csv")
        kept = np.flatnonzero(read["reason"] == "")
        images = _close_gaps(array, kept)
        index = manifest.drop(columns="sha256").join(read).iloc[kept].reset_index(drop=True)
        check_counts(index, settings.min_per_class)
        pairs = near_duplicate_pairs(images, prints[kept], progress=True)
        index, rule = divide(index, pairs, settings, seed)
        write_json(sorted(index["class"].unique()), partial / "classes.json")
        for part in PARTS:
            _write_part(images, index, partial, part)
        array.unlink()
    write_json(summarise(index, rule, len(rejected)), metrics / "split.json")
    for part in ("train", "test"):
        sheet = sample_sheet(*read_part(out, part), per_class=SAMPLES_PER_CLASS, seed=seed)
        save_sheet(sheet, plots / f"samples_{part}.png")
    sizes = ", ".join(f"{(index['part'] == part).sum()} {part}" for part in PARTS)
    print(f"split: {sizes}; groups by {rule}; {len(rejected)} rejected")


def _close_gaps(array: Path, kept: NDArray[np.int64]) -> NDArray[np.uint8]:
    # Row by row in the file: the images together may be larger than memory.
    images = np.load(array, mmap_mode="r+", allow_pickle=False)
    for row in np.flatnonzero(kept != np.arange(len(kept))):
        images[row] = images[kept[row]]
    return images[: len(kept)]


def _write_part(images: NDArray[np.uint8], index: pd.DataFrame, out: Path, part: str) -> None:
    rows = index[index["part"] == part]
    shape = (len(rows), *images.shape[1:])
    array = np.lib.format.open_memmap(out / f"{part}.npy", "w+", np.uint8, shape)
    for start in range(0, len(rows), CHUNK):
        array[start : start + CHUNK] = images[rows.index[start : start + CHUNK]]
    array.flush()
    write_table(rows[COLUMNS], out / f"{part}.csv")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(params.split, seed=params.seed, image_size=params.image_size, workers=os.cpu_count() or 1)


if __name__ == "__main__":
    run_command(main, name="split", doc=__doc__)
