"""From `fetch.source` to the rows of the manifest and the bytes of the images."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tissue.common.errors import InputError
from tissue.common.runtime import process_pool
from tissue.config.fetch import Fetch
from tissue.phantom.core import draw_jpeg
from tissue.phantom.plan import plan_cores
from tissue.sources.local import list_images
from tissue.sources.raw import Row, Source
from tissue.sources.remote import download_sources
from tissue.sources.slides import with_tiles

ALONE = ("phantom", "hpa")  # cannot be combined with other sources


def names_of(settings: Fetch) -> list[str]:
    """Return the sources as a list, even a single one."""
    return [settings.source] if isinstance(settings.source, str) else settings.source


def open_source(settings: Fetch, *, seed: int, workers: int, closing: ExitStack) -> Source:
    """Find the images of the source, which are read until `closing` closes.

    Raises:
        InputError: if the source cannot be read.
    """
    names = names_of(settings)
    for name in ALONE:
        if name in names and len(names) > 1:
            raise InputError(
                f"fetch.source: expected {name} to stand alone. Received: {', '.join(names)}."
            )
    if not settings.copy_images and names[0] in ALONE:
        raise _not_in_place(names[0])
    if names == ["phantom"]:
        return _phantom(settings, seed, workers, closing)
    if names == ["hpa"]:
        from tissue.sources.atlas import download_atlas  # pandas takes half a second to import

        chosen = download_atlas(settings.hpa, seed=seed, cache=Path(settings.cache))
        return _source([row for row, _ in chosen], (path.read_bytes() for _, path in chosen))
    return _local(download_sources(names, settings), settings, seed, workers, closing)


def _phantom(settings: Fetch, seed: int, workers: int, closing: ExitStack) -> Source:
    cores = plan_cores(**settings.phantom.model_dump(), seed=seed)
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


def _source(rows: list[Row], contents: Iterable[bytes]) -> Source:
    classes = sorted({str(row["class"]) for row in rows})
    return Source(len(rows), classes, zip(rows, contents, strict=True))


def _local(
    paths: list[Path], settings: Fetch, seed: int, workers: int, closing: ExitStack
) -> Source:
    listing = list_images(
        paths, sha256=settings.sha256, limits=settings.limits, closing=closing,
        class_level=settings.class_level, labels=settings.labels,
        outside_links=settings.outside_links,
    )  # fmt: skip
    if not settings.copy_images:
        for image in listing:
            if not image.name:
                raise _not_in_place(str(image.origin))
    return with_tiles(listing, settings, seed=seed, workers=workers, closing=closing)


def _not_in_place(source: str) -> InputError:
    return InputError(
        "fetch.copy: expected folders and zip archives, whose images can stay where they are. "
        f"Received: false, with {source}. Set it to true, or unpack the archive."
    )
