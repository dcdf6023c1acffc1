"""Bring the images in: `python -m stages.fetch`.

Reads the source named by `fetch.source`: the phantom, the Human Protein Atlas, or folders and
archives here, on web servers, in buckets, on file servers or in Google Drive.
Writes `data/raw/`: the images as they are, in zip files without compression of up to 1 GB or 12,500
images each, so that few files pass between stages; and `manifest.csv`, a row an image.

The default, 1,080 drawn cores of 448 px, takes about a minute on two cores and 80 MB.
"""

import csv
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from stages.cli.running import InputError, run_command
from stages.dataset.files import replacing
from stages.params.loading import check_named_files, load_params
from stages.params.schema import Fetch
from stages.sources.choosing import Row, Source, names_of, open_source

MANIFEST = [
    "id",
    "split",
    "class",
    "file",
    "source",
    "donor",
    "slide",
    "antibody",
    "sha256",
    "bytes",
]
PROVENANCE = ["url", "licence", "release", "credit"]  # where the source tells it
UNWATCHED = "stages/sources"  # fetch.watch, as long as it names nothing but the code of fetch
SHOWN_CLASSES = 20
SHARD_BYTES = 1_000_000_000
SHARD_IMAGES = 12_500  # who reads or writes a zip holds 1 kB an image of it in memory


def run(settings: Fetch, *, seed: int, workers: int, out: Path = Path("data/raw")) -> None:
    """Fetch the images of a source into `out`.

    Raises:
        ValueError: if the source cannot be read as images of two classes or more.
    """
    for name in names_of(settings):
        if Path(name).resolve().is_relative_to(out.resolve()):
            raise InputError(
                f"fetch.source: expected images that lie elsewhere. Received: {name}, in {out}, "
                "which this stage writes anew. Move them out of it."
            )
    with ExitStack() as closing, replacing(out) as partial:
        source = open_source(settings, seed=seed, workers=workers, closing=closing)
        classes = ", ".join(source.classes[:SHOWN_CLASSES])
        if len(source.classes) < 2:
            raise InputError(
                f"{settings.source}: expected two classes or more. Received: {classes}. Name the "
                "folder or archive that holds those of all classes."
            )
        partial.mkdir()
        _write(source, partial)
    more = " ..." if len(source.classes) > SHOWN_CLASSES else ""
    told = f"{source.total} images of {len(source.classes)} classes ({classes}{more})"
    print(f"fetch: {told} from {settings.source}")
    if settings.watch == UNWATCHED and names_of(settings) != ["phantom"]:
        print(
            "fetch: DVC does not see changes there. Set fetch.watch to the folder, archive or URL, "
            "or run `dvc repro --force fetch` after a change"
        )


def _write(source: Source, out: Path) -> None:
    rows = _write_images(source, out)
    first = next(rows)
    columns = MANIFEST + [column for column in PROVENANCE if column in first]
    # Row by row, as a table of all images would grow with them.
    with (out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(chain([first], rows))


def _write_images(source: Source, out: Path) -> Iterator[Row]:
    """Write the images one by one, and give the row of each."""
    images = iter(tqdm(source.images, "fetch", source.total, unit="image", disable=None))
    for number, first in enumerate(images):
        file = f"images-{number:03d}.zip"
        with zipfile.ZipFile(out / file, "w") as shard:
            for row, content in _one_shard(chain([first], images)):
                # A ZipInfo of its own has a fixed date: the same images make the same bytes.
                shard.writestr(zipfile.ZipInfo(str(row["id"])), content)
                digest = hashlib.sha256(content).hexdigest()
                yield {**row, "file": file, "sha256": digest, "bytes": len(content)}


def _one_shard(images: Iterable[tuple[Row, bytes]]) -> Iterator[tuple[Row, bytes]]:
    """Give images until one file is full."""
    written = 0
    for count, (row, content) in enumerate(images, 1):
        yield row, content
        written += len(content)
        if written >= SHARD_BYTES or count >= SHARD_IMAGES:
            return


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    check_named_files(params)  # before hours of download
    run(params.fetch, seed=params.seed, workers=os.cpu_count() or 1)


if __name__ == "__main__":
    run_command(main, name="fetch", doc=__doc__)
