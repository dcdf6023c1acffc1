"""From `fetch.source` to the rows of the manifest and the bytes of the images."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.common.runtime import process_pool
from tissue.config.schema import Fetch, Phantom
from tissue.phantom.core import draw_jpeg
from tissue.phantom.plan import plan_cores
from tissue.sources.listing import Image
from tissue.sources.local import list_images
from tissue.sources.remote import download_sources

Row = dict[str, str | int]
ALONE = ("phantom", "hpa")


class Source(NamedTuple):
    """How many images there are, of which classes, and of each its row and bytes, sorted by id."""

    total: int
    classes: list[str]
    images: Iterable[tuple[Row, bytes]]


def names_of(settings: Fetch) -> list[str]:
    """Return the sources as a list, also where there is one."""
    return [settings.source] if isinstance(settings.source, str) else settings.source


def open_source(settings: Fetch, *, seed: int, workers: int, closing: ExitStack) -> Source:
    """Find the images of the source; `closing` closes what reads them.

    Raises:
        ValueError: if the source cannot be read.
    """
    names = names_of(settings)
    for name in ALONE:
        if name in names and len(names) > 1:
            raise InputError(
                f"fetch.source: expected {name} to stand alone. Received: {', '.join(names)}."
            )
    if names == ["phantom"]:
        return _phantom(settings.phantom, seed, workers, closing)
    if names == ["hpa"]:
        return _atlas(settings, seed)
    return _local(download_sources(names, settings), settings, closing)


def _phantom(settings: Phantom, seed: int, workers: int, closing: ExitStack) -> Source:
    cores = plan_cores(
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
    pool = closing.enter_context(process_pool(workers))
    return _source(rows, pool.map(draw_jpeg, cores, chunksize=8))


def _atlas(settings: Fetch, seed: int) -> Source:
    from tissue.sources import atlas  # half a second that no other source needs

    images = atlas.download_atlas(settings.hpa, seed=seed, cache=Path(settings.cache))
    rows = [image.row(settings.hpa.url.rstrip("/") + atlas.LICENCE) for image in images]
    return _source(rows, (image.path.read_bytes() for image in images))


def _source(rows: list[Row], contents: Iterable[bytes]) -> Source:
    classes = sorted({str(row["class"]) for row in rows})
    return Source(len(rows), classes, zip(rows, contents, strict=True))


def _local(paths: list[str], settings: Fetch, closing: ExitStack) -> Source:
    images = list_images(paths, sha256=settings.sha256, limits=settings.limits, closing=closing)
    return Source(len(images), images.classes(), ((_row(image), image.read()) for image in images))


def _row(image: Image) -> Row:
    return {
        "id": image.place.id,
        "split": image.place.split,
        "class": image.place.class_name,
        "source": image.origin,
    }
