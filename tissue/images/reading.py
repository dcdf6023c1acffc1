"""Decode and measure each image of `data/raw` once, in chunks."""

import json
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.chunks.files import Files
from tissue.chunks.running import ROWS, Chunk, Work
from tissue.common.files import file_digest, reading
from tissue.config.schema import Split
from tissue.data.index import QUALITY
from tissue.data.raw import Original, find_places, list_originals, read_original
from tissue.data.shards import create_array
from tissue.images.decoding import content_box, decode
from tissue.images.duplicates import exact_digest
from tissue.images.keypoints import DESCRIPTOR, MOST, find_keypoints
from tissue.images.kinds import UnreadableImageError
from tissue.images.quality import choose_crops, measure_quality

LONGEST_REASON = 300  # characters
USED_SETTINGS = {"crops", "max_pixels", "min_side", "max_aspect", "field"}


class ReadImage(NamedTuple):
    """An image as the pipeline uses it."""

    image: NDArray[np.uint8]  # (S, S, 3)
    crops: NDArray[np.uint8]  # (C, S, S, 3), those with the most tissue; C may be 0
    width: int  # of the original in pixels, after it is turned by its EXIF orientation
    height: int
    quality: dict[str, float]  # by `measure_quality`, of the image without padding


def read_image(
    content: bytes, settings: Split, *, size: int, mpp: float | None = None
) -> ReadImage:
    """Decode an image file to `size` pixels, cut crops and measure the quality; see `decode`.

    Raises:
        UnreadableImageError: if the image cannot be used.
    """
    count, zoom = settings.crops.count, settings.crops.zoom
    sizes = (size, size * zoom) if count else (size,)
    (image, *larger), width, height = decode(content, settings, sizes=sizes, mpp=mpp)
    crops = np.zeros((0, size, size, 3), np.uint8)
    for source in larger:
        within = content_box(width, height, size * zoom)
        crops = choose_crops(source, within=within, count=count, zoom=zoom)
    quality = measure_quality(image[content_box(width, height, size)])
    return ReadImage(image, crops, width, height, quality)


def reading_work(manifest: pd.DataFrame, settings: Split, *, raw: Path, size: int) -> Work:
    """Return the reading of all images of the folder `raw` as chunks of `read_chunk`."""
    chunks = []
    for number, start in enumerate(range(0, len(manifest), ROWS)):
        rows = manifest.iloc[start : start + ROWS]
        originals = list_originals(rows)
        arguments = {"originals": originals, "size": size, "settings": settings}
        about = f"the images {originals[0].id} to {originals[-1].id}"
        chunks.append(Chunk(f"{number:07}.npy", about, len(originals), arguments))
    used = settings.model_dump(include=USED_SETTINGS)
    state = [file_digest(raw / "manifest.csv"), size, used]
    return Work(read_chunk, chunks, find_places(manifest, raw), state)


def read_chunk(
    out: Path,
    inputs: Files,
    *,
    originals: Sequence[Original],
    size: int,
    settings: Split,
) -> None:
    """Read images and write one row of `row_type` for each.

    Where an image cannot be used, `reason` says why and the rest of the row is zero.

    Args:
        out: .npy file to write.
        inputs: the zip files and folders by name.
        originals: the images.
        size: side in pixels.
        settings: limits and crops.
    """
    rows = create_array(out, row_type(size, settings.crops.count), (len(originals),))
    for row, one in zip(rows, originals, strict=True):
        with reading(Path("data/raw", one.file)):
            place = _open(inputs.at[one.file], json.dumps(inputs.options))
        content = read_original(one, place)
        try:
            _fill(row, read_image(content, settings, size=size, mpp=one.scale))
        except UnreadableImageError as error:
            row["reason"] = str(error)


def row_type(size: int, crops: int) -> np.dtype:
    """Return the type of a row: an image of `size` pixels, its crops and what is known of it."""
    key_points = [
        ("count", np.int16),
        ("places", np.float32, (MOST, 2)),
        ("diameters", np.float32, (MOST,)),
        ("angles", np.float32, (MOST,)),
        ("descriptors", np.uint8, (MOST, DESCRIPTOR)),
    ]
    return np.dtype(
        [
            ("image", np.uint8, (size, size, 3)),
            ("crops", np.uint8, (crops, size, size, 3)),
            ("key_points", key_points),
            ("reason", f"U{LONGEST_REASON}"),
            ("sha256", "U64"),
            ("width", np.int32),
            ("height", np.int32),
            *((name, np.float64) for name in QUALITY),
        ]
    )


def _fill(row: np.void, read: ReadImage) -> None:
    for name in ("image", "crops", "width", "height"):
        row[name] = getattr(read, name)
    for name, value in read.quality.items():
        row[name] = value
    row["sha256"] = exact_digest(read.image)
    within = content_box(read.width, read.height, len(read.image))
    found = find_keypoints(read.image, within)
    count = row["key_points"]["count"] = len(found.places)
    for name, values in found._asdict().items():
        row["key_points"][name][:count] = values


@lru_cache(maxsize=1)
def _open(url: str, options: str) -> Path | zipfile.ZipFile:
    # Kept open: reading the list of members, 1 kB each, for every chunk would be quadratic. Chunks
    # read one zip file after the other, so the last one is enough.
    if Path(url).is_dir():
        return Path(url)
    return zipfile.ZipFile(Files({"": url}, json.loads(options)).open(""))
