"""Decode, check and divide the images: `python -m stages.split`.

Reads `data/raw`. Writes `data/split/`: for training, validation and test an array of images, an
array of crops at a higher magnification, and a table that describes their rows; arrays of more
than `advanced.split.shard_size` images are in several files. Also the class names, and lists of
unusable images, of copies, and of training images that share a picture or donor with the test set.
Writes `metrics/split.json`, sheets of samples, and a sheet of what the checks found.

Validation, and the test set if the source gives none, are taken from training by whole groups:
donors, else positions on the array in file names of the atlas, else clusters of near-duplicates. A
test set from the source is kept; it may share donors with training, as `split.on_leak` says. With
the default settings: 576 + 144 + 360 images, in about 15 s on two cores.
"""

import os
from pathlib import Path

from tissue.chunks.running import run_chunks
from tissue.common.files import atomic_write, write_json, write_table
from tissue.common.names import MANIFEST
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import PREPARATION_FILE, preparation, read_split
from tissue.data.raw import check_reachable, read_manifest
from tissue.figures.sheets import data_checks_sheet, sample_sheet, save_sheet
from tissue.images.checks import check_counts, select_usable
from tissue.images.division import assign_splits, write_division
from tissue.images.duplicates import find_copies
from tissue.images.groups import add_known_groups
from tissue.images.reading import reading_work
from tissue.images.scales import check_known, check_scales, describe_scales
from tissue.images.stored import StoredImages, StoredRows, stored_key_points
from tissue.images.summary import describe_division, division_metrics


def run(params: Params, root: Path = Path(), *, workers: int | None = None) -> None:
    """Divide the images of `data/raw` into training, validation and test set.

    Args:
        params: `split`, `seed`, `image_size` and `engine` are used.
        root: the folder that holds `data`, `metrics` and `plots`.
        workers: processes that decode; 0 decodes in this one. By default one per processor core.

    Raises:
        InputError: if too many images are unreadable, a class has too few, or scales differ.
    """
    settings, raw, out = params.split, root / "data/raw", root / "data/split"
    manifest = read_manifest(raw)
    check_reachable(manifest, params.engine)
    work = reading_work(manifest, settings, raw=raw, size=params.image_size)
    check_counts(manifest, settings.min_per_class, set(manifest["class"]))
    check_known(manifest["mpp"], settings)
    manifest = add_known_groups(manifest[MANIFEST], settings)
    workers = os.cpu_count() or 1 if workers is None else workers
    with (
        run_chunks(work, out, params.engine, workers=workers) as folder,
        atomic_write(out) as partial,
    ):
        stored = StoredRows([folder / chunk.name for chunk in work.chunks])
        index, usable, rejected = select_usable(manifest, stored.table(), settings)
        check_scales(index, settings)
        images = StoredImages(stored, usable)
        pairs = find_copies(images, stored_key_points(stored, usable), settings)
        division = assign_splits(index, pairs, settings, seed=params.seed)
        partial.mkdir()
        write_division(division, stored, usable, out=partial, settings=settings)
        write_table(rejected, partial / "rejected.csv")
        # `predict` prepares images in the same way, and the arrays do not show the zoom.
        write_json(preparation(params), partial / PREPARATION_FILE)
        save_sheet(data_checks_sheet(images, division.index), root / "plots/data_checks.png")
    write_json(division_metrics(division, len(rejected)), root / "metrics/split.json")
    _save_samples(out, root / "plots", params.seed)
    about = describe_division(division, len(rejected), settings)
    for line in [*about, describe_scales(manifest["mpp"])]:
        print(f"split: {line}")


def _save_samples(split: Path, plots: Path, seed: int) -> None:
    for name in ("train", "test"):
        sheet = sample_sheet(*read_split(split, name)[:2], per_class=6, seed=seed)
        save_sheet(sheet, plots / f"samples_{name}.png")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


if __name__ == "__main__":
    run_command(main, name="split", doc=__doc__)
