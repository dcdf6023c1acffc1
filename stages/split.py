"""Decode, check and divide the images: `python -m stages.split`.

Reads `data/raw`. Writes `data/split/`: for training, validation and test an array of images, one of
crops of them at a higher magnification, each in several files above `split.shard_size` images, and
a table that describes their rows; the class names; lists of the images that cannot be used, of
copies, and of training images that share a picture or donor with the test. Writes
`metrics/split.json`, sheets of samples of training and test, and one of what the checks found.

A test set that the source gives is kept; otherwise one is made. Validation is taken from training.
Both are taken by whole groups: donors, else slides, else clusters of near-duplicates, so that no
donor stands on both sides. On the default: 576 + 144 + 360 images, in about 15 s on two cores.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.cli.running import run_command
from stages.dataset.checking import check_counts, check_rejected, check_training
from stages.dataset.files import file_digest, replacing, write_json, write_table
from stages.dataset.grouping import with_given_groups
from stages.dataset.index import MADE_WITH, PARTS, read_index, read_part
from stages.dataset.parts import Division, divide, list_duplicates, summarise
from stages.dataset.splitting import missing_classes
from stages.engine.pieces import LOCAL, finished
from stages.figures.data_checks import data_checks
from stages.images.duplicates import near_duplicate_pairs
from stages.images.reading import read_piece, reading_pieces
from stages.images.sheets import sample_sheet, save_sheet
from stages.images.stored import StoredImages, StoredKeyPoints, StoredRows, write_shards
from stages.params.loading import load_params
from stages.params.schema import Engine, Split

COLUMNS = [
    "id", "class", "label", "group", "sha256", "source", "donor", "slide", "antibody",
    "width", "height", "tissue_fraction", "blur", "haematoxylin", "dab",
]  # fmt: skip
MANIFEST = ["id", "split", "class", "file", "source", "donor", "slide", "antibody"]
SAMPLES_PER_CLASS = 6


def run(
    settings: Split,
    *,
    seed: int,
    image_size: int,
    workers: int,
    engine: Engine = LOCAL,
    raw: Path = Path("data/raw"),
    out: Path = Path("data/split"),
    metrics: Path = Path("metrics"),
    plots: Path = Path("plots"),
) -> None:
    """Divide the images of `raw` into training, validation and test part.

    Raises:
        ValueError: if too many images are unreadable, or a class has too few.
    """
    manifest = read_index(raw / "manifest.csv", MANIFEST)
    classes = set(manifest["class"])
    check_counts(manifest, settings.min_per_class, classes)
    manifest, rule = with_given_groups(manifest, settings)
    pieces = reading_pieces(manifest, settings, size=image_size)
    archives = {name: raw / name for name in sorted(manifest["file"].unique())}
    state = [file_digest(raw / "manifest.csv"), pieces[0].arguments]
    with (
        finished(
            read_piece, pieces, archives, out, engine=engine, workers=workers, state=state
        ) as folder,
        replacing(out) as partial,
    ):
        partial.mkdir()
        stored = StoredRows([folder / piece.name for piece in pieces])
        read = stored.table()
        rejected = manifest[["id"]].join(read["reason"])[read["reason"] != ""]
        check_rejected(rejected, len(manifest), settings.max_rejected)
        write_table(rejected, partial / "rejected.csv")
        kept = np.flatnonzero(read["reason"] == "")
        images = StoredImages(stored, kept)
        index = manifest.join(read).iloc[kept].reset_index(drop=True)
        check_counts(index, settings.min_per_class, classes, rejected)
        pairs = near_duplicate_pairs(
            images, stored.all("fingerprint")[kept], StoredKeyPoints(stored, kept), progress=True
        )
        division = divide(index, pairs, settings, seed=seed, given=rule)
        check_counts(division.kept, settings.min_per_class, classes)
        check_training(division.kept)
        arrays = {"": images}
        if settings.crops.count:
            arrays["_crops"] = StoredImages(stored, kept, field="crops")
        _write(division, arrays, partial, shard_size=settings.shard_size)
        # `predict` makes other images like them, and the arrays do not show the zoom.
        made_with = {"image_size": image_size, "split.crops": settings.crops.model_dump()}
        write_json(made_with, partial / MADE_WITH)
        save_sheet(data_checks(images, division.index), plots / "data_checks.png")
    write_json(summarise(division, len(rejected)), metrics / "split.json")
    for part in ("train", "test"):
        sheet = sample_sheet(*read_part(out, part)[:2], per_class=SAMPLES_PER_CLASS, seed=seed)
        save_sheet(sheet, plots / f"samples_{part}.png")
    _tell(division, len(rejected))


def _write(
    division: Division, arrays: Mapping[str, StoredImages], out: Path, *, shard_size: int
) -> None:
    write_json(sorted(division.kept["class"].unique()), out / "classes.json")
    write_table(list_duplicates(division.index), out / "duplicates.csv")
    write_table(division.leaked, out / "leaks.csv")
    for part in PARTS:
        rows = division.kept[division.kept["part"] == part]
        for suffix, array in arrays.items():
            path = out / f"{part}{suffix}.npy"
            write_shards(path, array, rows.index.tolist(), shard_size=shard_size)
        write_table(rows[COLUMNS], out / f"{part}.csv")


def _tell(division: Division, rejected: int) -> None:
    sizes = ", ".join(f"{(division.index['part'] == part).sum()} {part}" for part in PARTS)
    print(f"split: {sizes}; groups by {division.rule}; {rejected} rejected")
    for part in PARTS:
        if missing := missing_classes(division.kept, (division.kept["part"] == part).to_numpy()):
            print(f"split: no image for {part} of {', '.join(missing)}")
    if images := division.leaks["images"]:
        done = "dropped" if division.leaks["dropped"] else "kept (split.on_leak: report)"
        print(f"split: {images} images in training share a copy or a donor with the test; {done}")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(
        params.split,
        seed=params.seed,
        image_size=params.image_size,
        workers=os.cpu_count() or 1,
        engine=params.engine,
    )


if __name__ == "__main__":
    run_command(main, name="split", doc=__doc__)
