"""Decode all images of `data/raw` into one array, each once, on all cores."""

import zipfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from stages.images.decoding import UnreadableImageError, decode
from stages.images.duplicates import exact_digest, fingerprint
from stages.images.quality import measure

CHUNK = 32


def read_images(
    manifest: pd.DataFrame, raw: Path, array: Path, *, size: int, max_pixels: int, workers: int
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Decode the images of a manifest into a new array file and measure each.

    The processes write into the file, so that no image passes between them and memory stays flat.

    Args:
        manifest: rows with `id` and `file`, the zip in `raw` that holds the image.
        raw: folder of the zips.
        array: file to write, uint8 (N, size, size, 3); rows of unreadable images stay black.
        size: side in pixels.
        max_pixels: images with more are not decoded.
        workers: number of processes.

    Returns:
        A table, row i of image i, with `reason` (why it is unreadable, or empty), `sha256` of the
        pixels, `width`, `height` and the measures of quality; and the fingerprints (N, D).
    """
    np.lib.format.open_memmap(array, "w+", np.uint8, (len(manifest), size, size, 3)).flush()
    starts = range(0, len(manifest), CHUNK)
    chunks = [manifest.iloc[start : start + CHUNK][["id", "file"]] for start in starts]
    work = partial(_read_chunk, raw=raw, array=array, max_pixels=max_pixels)
    rows: list[dict[str, Any]] = []
    with (
        ProcessPoolExecutor(workers) as pool,
        tqdm(total=len(manifest), desc="split", unit="image", disable=None) as progress,
    ):
        for chunk in pool.map(work, starts, chunks):
            rows.extend(chunk)
            progress.update(len(chunk))
    blank = np.zeros_like(next((r["fingerprint"] for r in rows if "fingerprint" in r), np.zeros(1)))
    prints = np.array([row.pop("fingerprint", blank) for row in rows], np.float32)
    return pd.DataFrame(rows), prints


def _read_chunk(
    start: int, chunk: pd.DataFrame, *, raw: Path, array: Path, max_pixels: int
) -> list[dict[str, Any]]:
    images = np.load(array, mmap_mode="r+", allow_pickle=False)
    rows: list[dict[str, Any]] = []
    with ExitStack() as closing:
        shards = {
            file: closing.enter_context(zipfile.ZipFile(raw / file))
            for file in chunk["file"].unique()
        }
        for row, id_, file in zip(
            range(start, start + len(chunk)), chunk["id"], chunk["file"], strict=True
        ):
            content = shards[file].read(id_)
            try:
                image, width, height = decode(content, size=images.shape[1], max_pixels=max_pixels)
            except UnreadableImageError as error:
                rows.append({"reason": str(error)})
                continue
            images[row] = image
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
