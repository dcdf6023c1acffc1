"""Decode all images of `data/raw` into one array, each once, on all cores."""

import zipfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from stages.cli.running import InputError, exit_with_parent
from stages.images.crops import choose_crops
from stages.images.decoding import UnreadableImageError, decode_sizes
from stages.images.duplicates import exact_digest, fingerprint
from stages.images.quality import measure
from stages.params.schema import Crops

CHUNK = 32


def read_images(
    manifest: pd.DataFrame,
    raw: Path,
    array: Path,
    *,
    size: int,
    crops: Crops,
    crops_array: Path,
    max_pixels: int,
    min_side: int,
    max_aspect: float,
    workers: int,
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Decode the images of a manifest into a new array file and measure each.

    The processes write into the file, so that no image passes between them and memory stays flat.

    Args:
        manifest: rows with `id` and `file`, the zip in `raw` that holds the image.
        raw: folder of the zips.
        array: file to write, uint8 (N, size, size, 3); rows of unreadable images stay black.
        size: side in pixels.
        crops: how many crops are kept of each image, and at which magnification.
        crops_array: file to write them to, uint8 (N, count, size, size, 3), unless there are none.
        max_pixels: images with more are not decoded.
        min_side: images with fewer pixels a side are not decoded.
        max_aspect: images longer than this, against their shorter side, are not decoded.
        workers: number of processes.

    Returns:
        A table, row i of image i, with `reason` (why it is unreadable, or empty), `sha256` of the
        pixels, `width`, `height` and the measures of quality; and the fingerprints (N, D).

    Raises:
        InputError: if the system ends a process, as it does when memory runs out.
    """
    np.lib.format.open_memmap(array, "w+", np.uint8, (len(manifest), size, size, 3)).flush()
    if crops.count:
        shape = (len(manifest), crops.count, size, size, 3)
        np.lib.format.open_memmap(crops_array, "w+", np.uint8, shape).flush()
    starts = range(0, len(manifest), CHUNK)
    chunks = [manifest.iloc[start : start + CHUNK][["id", "file"]] for start in starts]
    limits = {"max_pixels": max_pixels, "min_side": min_side, "max_aspect": max_aspect}
    arrays = (array, crops_array if crops.count else None)
    work = partial(_read_chunk, raw=raw, arrays=arrays, zoom=crops.zoom, limits=limits)
    rows: list[dict[str, Any]] = []
    with (
        ProcessPoolExecutor(workers, initializer=exit_with_parent) as pool,
        tqdm(total=len(manifest), desc="split", unit="image", disable=None) as progress,
    ):
        try:
            for chunk in pool.map(work, starts, chunks):
                rows.extend(chunk)
                progress.update(len(chunk))
        except BrokenProcessPool:
            raise InputError(
                f"{raw}: expected to decode the images. Received: a process that the system ended "
                f"at one of the {CHUNK * workers} images from {manifest['id'].iloc[len(rows)]} on. "
                "Is memory short? Lower split.max_pixels, or take the image out."
            ) from None
    blank = np.zeros_like(next((r["fingerprint"] for r in rows if "fingerprint" in r), np.zeros(1)))
    prints = np.array([row.pop("fingerprint", blank) for row in rows], np.float32)
    return pd.DataFrame(rows), prints


@lru_cache(maxsize=8)
def _shard(path: Path) -> zipfile.ZipFile:
    # Open as long as the process: reading the list of members for every chunk would be quadratic.
    return zipfile.ZipFile(path)


def _read_chunk(
    start: int,
    chunk: pd.DataFrame,
    *,
    raw: Path,
    arrays: tuple[Path, Path | None],
    zoom: int,
    limits: dict[str, Any],
) -> list[dict[str, Any]]:
    images, *all_crops = (
        np.load(path, mmap_mode="r+", allow_pickle=False) for path in arrays if path
    )
    size = images.shape[1]
    sizes = (size, size * zoom) if all_crops else (size,)
    rows: list[dict[str, Any]] = []
    places = zip(range(start, start + len(chunk)), chunk["id"], chunk["file"], strict=True)
    for row, id_, file in places:
        content = _shard(raw / file).read(id_)
        try:
            (image, *larger), width, height = decode_sizes(content, sizes=sizes, **limits)
        except UnreadableImageError as error:
            rows.append({"reason": str(error)})
            continue
        images[row] = image
        for crops, source in zip(all_crops, larger, strict=True):
            crops[row] = choose_crops(source, count=crops.shape[1], zoom=zoom)
        rows.append(
            {
                "reason": "",
                "sha256": exact_digest(image),
                "width": width,
                "height": height,
                "fingerprint": fingerprint(image),
                **measure(image),
            }
        )
    return rows
