"""Bring the images in: `python -m stages.fetch`.

Reads the source named by `fetch.source`: the phantom, a folder, an archive or a list of these.
Writes `data/raw/`: the images as they are, in zip files without compression of up to 1 GB each, so
that few files pass between stages; and `manifest.csv`, a row an image.

The default, 1,080 drawn cores of 448 px, takes about a minute on two cores and 80 MB.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from stages.cli.running import InputError, run_command
from stages.dataset.files import replacing, write_table
from stages.params.loading import load_params
from stages.params.schema import Fetch, Phantom
from stages.sources import phantom
from stages.sources.local import list_images

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
SHARD_BYTES = 1_000_000_000
Row = dict[str, str | int]


def run(settings: Fetch, *, seed: int, workers: int, out: Path = Path("data/raw")) -> None:
    """Fetch the images of a source into `out`.

    Raises:
        ValueError: if the source cannot be read as images of two classes or more.
    """
    with ExitStack() as closing, replacing(out) as partial:
        if settings.source == "phantom":
            rows, contents = _phantom(settings.phantom, seed, workers, closing)
        else:
            names = [settings.source] if isinstance(settings.source, str) else settings.source
            rows, contents = _local(names, settings.sha256, closing)
        classes = sorted({str(row["class"]) for row in rows})
        if len(classes) < 2:
            raise InputError(
                f"{settings.source}: expected two classes or more. Received: {', '.join(classes)}."
            )
        partial.mkdir()
        _write(rows, contents, partial)
    print(f"fetch: {len(rows)} images of {len(classes)} classes from {settings.source}")


def _phantom(
    settings: Phantom, seed: int, workers: int, closing: ExitStack
) -> tuple[list[Row], Iterable[bytes]]:
    cores = phantom.cores(
        train_per_class=settings.train_per_class,
        test_per_class=settings.test_per_class,
        size=settings.size,
        seed=seed,
    )
    rows: list[Row] = [
        {
            "id": core.id,
            "split": core.split,
            "class": core.class_name,
            "source": "phantom",
            "donor": core.donor,
            "slide": core.slide,
            "antibody": core.antibody,
        }
        for core in cores
    ]
    pool = closing.enter_context(ProcessPoolExecutor(workers))
    return rows, pool.map(phantom.draw, cores, chunksize=8)


def _local(
    names: Sequence[str], sha256: Mapping[str, str], closing: ExitStack
) -> tuple[list[Row], Iterable[bytes]]:
    images = list_images(names, sha256=sha256, closing=closing)
    rows: list[Row] = [
        {
            "id": image.place.id,
            "split": image.place.split,
            "class": image.place.class_name,
            "source": image.origin,
        }
        for image in images
    ]
    return rows, (image.read() for image in images)


def _write(rows: list[Row], contents: Iterable[bytes], out: Path) -> None:
    written = 0
    shard: zipfile.ZipFile | None = None
    with ExitStack() as closing:
        for row, content in zip(
            tqdm(rows, desc="fetch", unit="image", disable=None), contents, strict=True
        ):
            file = f"images-{written // SHARD_BYTES:03d}.zip"
            if shard is None or shard.filename != str(out / file):
                shard = closing.enter_context(zipfile.ZipFile(out / file, "w"))
            # A ZipInfo of its own has a fixed date: the same images make the same bytes.
            shard.writestr(zipfile.ZipInfo(str(row["id"])), content)
            row["file"] = file
            row["sha256"] = hashlib.sha256(content).hexdigest()
            row["bytes"] = len(content)
            written += len(content)
    write_table(pd.DataFrame(rows, columns=MANIFEST), out / "manifest.csv")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(params.fetch, seed=params.seed, workers=os.cpu_count() or 1)


if __name__ == "__main__":
    run_command(main, name="fetch", doc=__doc__)
