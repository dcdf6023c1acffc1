"""Bring the images in: `python -m stages.fetch`.

Reads the source named by `fetch.source`: the phantom, the Human Protein Atlas, or folders and
archives here, on web servers, in buckets, on file servers or in Google Drive.
Writes `data/raw/`: the images as they are, in zip files without compression of up to 1 GB each, so
that few files pass between stages; and `manifest.csv`, a row an image.

The default, 1,080 drawn cores of 448 px, takes about a minute on two cores and 80 MB.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from stages.cli.running import InputError, run_command
from stages.dataset.files import replacing, write_table
from stages.params.loading import load_params
from stages.params.schema import Fetch
from stages.sources.choosing import Row, open_source

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
SHARD_BYTES = 1_000_000_000


def run(settings: Fetch, *, seed: int, workers: int, out: Path = Path("data/raw")) -> None:
    """Fetch the images of a source into `out`.

    Raises:
        ValueError: if the source cannot be read as images of two classes or more.
    """
    with ExitStack() as closing, replacing(out) as partial:
        source = open_source(settings, seed=seed, workers=workers, closing=closing)
        classes = sorted({str(row["class"]) for row in source.rows})
        if len(classes) < 2:
            raise InputError(
                f"{settings.source}: expected two classes or more. Received: {', '.join(classes)}."
            )
        partial.mkdir()
        _write(source.rows, source.contents, partial)
    print(f"fetch: {len(source.rows)} images of {len(classes)} classes from {settings.source}")
    if settings.watch == UNWATCHED and settings.source not in ("phantom", ["phantom"]):
        print(
            "fetch: DVC does not see changes there. Set fetch.watch to the folder, archive or URL, "
            "or run `dvc repro --force fetch` after a change"
        )


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
    told = [column for column in PROVENANCE if column in rows[0]]
    write_table(pd.DataFrame(rows, columns=MANIFEST + told), out / "manifest.csv")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(params.fetch, seed=params.seed, workers=os.cpu_count() or 1)


if __name__ == "__main__":
    run_command(main, name="fetch", doc=__doc__)
