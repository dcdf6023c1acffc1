"""Collect the images: `python -m stages.fetch`.

Reads the source named by `fetch.source`: the phantom, the Human Protein Atlas, or folders and
archives on this machine, on web servers, in buckets, on file servers or in Google Drive.
Writes `data/raw/`: the images as they are, in uncompressed zip files of up to 1 GB or 12,500 images
each, so that few files pass between stages; and `manifest.csv`, one row per image. With
`fetch.copy: false` it writes the manifest alone, and `split` reads the images in place.

The default, 1,080 drawn cores of 448 px, takes about a minute on two cores and 80 MB.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from tissue.common.errors import InputError
from tissue.common.files import atomic_write
from tissue.config.command import run_command
from tissue.config.fetch import Fetch
from tissue.config.loading import check_named_files, load_params
from tissue.config.schema import Params
from tissue.sources.layout import SHOWN_CLASSES
from tissue.sources.opening import names_of, open_source
from tissue.sources.raw import write_raw

UNWATCHED = "tissue/sources/opening.py"  # fetch.watch, as long as it names nothing but code


def run(params: Params, root: Path = Path(), *, workers: int | None = None) -> None:
    """Collect the images of the source in `data/raw`.

    Args:
        params: `fetch` and `seed` are used.
        root: the folder of `data`.
        workers: processes that draw the phantom; by default one per processor core.

    Raises:
        InputError: if the source cannot be read as images of two classes or more.
    """
    settings, out = params.fetch, root / "data/raw"
    workers = workers or os.cpu_count() or 1
    _check_elsewhere(settings, out)
    with ExitStack() as closing, atomic_write(out) as partial:
        source = open_source(settings, seed=params.seed, workers=workers, closing=closing)
        _check_classes(source.classes, settings)
        partial.mkdir()
        write_raw(source, partial, copy=settings.copy_images)
    shown = ", ".join(source.classes[:SHOWN_CLASSES])
    more = " ..." if len(source.classes) > SHOWN_CLASSES else ""
    classes = f"{len(source.classes)} classes ({shown}{more})"
    print(f"fetch: {source.total} images of {classes} from {settings.source}")
    if not settings.copy_images:
        print(
            "fetch: the images stay where they are (fetch.copy). data/raw holds their list and "
            "digests, which is all that `dvc push` shares; `split` compares them when it runs"
        )
    if settings.watch == UNWATCHED and names_of(settings) != ["phantom"]:
        print(
            "fetch: DVC does not see changes there. Set fetch.watch to the folder, archive or URL, "
            "or run `dvc repro --force fetch` after a change"
        )


def _check_elsewhere(settings: Fetch, out: Path) -> None:
    for name in names_of(settings):
        if Path(name).resolve().is_relative_to(out.resolve()):
            raise InputError(
                f"fetch.source: expected images that are elsewhere. Received: {name}, in {out}, "
                "which this stage replaces. Move them out of it."
            )


def _check_classes(classes: list[str], settings: Fetch) -> None:
    if len(classes) < 2:
        raise InputError(
            f"{settings.source}: expected two classes or more. Received: {', '.join(classes)}. "
            "Name the folder or archive that holds all classes."
        )


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    check_named_files(params)  # before hours of download
    run(params)


if __name__ == "__main__":
    run_command(main, name="fetch", doc=__doc__)
