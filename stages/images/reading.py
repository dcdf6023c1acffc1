"""Decode all images of `data/raw`, each once, and measure them, some at a time."""

import json
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.dataset.index import QUALITY
from stages.engine.files import Files
from stages.engine.pieces import ROWS, Piece
from stages.images.crops import choose_crops
from stages.images.decoding import UnreadableImageError, content_box, decode_sizes
from stages.images.duplicates import FINGERPRINT, exact_digest, fingerprint
from stages.images.keypoints import DESCRIPTOR, MOST, find
from stages.images.quality import measure
from stages.params.schema import Split

LONGEST = 300  # letters kept of a reason


def row_type(size: int, crops: int) -> np.dtype:
    """Return the type of a row: an image of `size` pixels, its crops and what is known of it."""
    points = [
        ("count", np.int16),
        ("places", np.complex64, (MOST,)),
        ("scales", np.float32, (MOST,)),
        ("descriptors", np.int8, (MOST, DESCRIPTOR)),
    ]
    return np.dtype(
        [
            ("image", np.uint8, (size, size, 3)),
            ("crops", np.uint8, (crops, size, size, 3)),
            ("fingerprint", np.float32, (FINGERPRINT,)),
            ("key_points", points),
            ("reason", f"U{LONGEST}"),
            ("sha256", "U64"),
            ("width", np.int32),
            ("height", np.int32),
            *((name, np.float64) for name in QUALITY),
        ]
    )


def reading_pieces(manifest: pd.DataFrame, settings: Split, *, size: int) -> list[Piece]:
    """Cut the images of a manifest, rows with `id` and `file`, into pieces for `read_piece`."""
    limits = {name: getattr(settings, name) for name in ("max_pixels", "min_side", "max_aspect")}
    common = {
        "size": size,
        "crops": settings.crops.count,
        "zoom": settings.crops.zoom,
        "limits": limits,
    }
    pieces = []
    for number, at in enumerate(range(0, len(manifest), ROWS)):
        rows = manifest.iloc[at : at + ROWS]
        ids, files = rows["id"].tolist(), rows["file"].tolist()
        about = f"the images {ids[0]} to {ids[-1]}"
        arguments = {"ids": ids, "files": files, **common}
        pieces.append(Piece(f"{number:07}.npy", about, len(ids), arguments))
    return pieces


def read_piece(
    out: Path,
    inputs: Files,
    *,
    ids: Sequence[str],
    files: Sequence[str],
    size: int,
    crops: int,
    zoom: int,
    limits: dict[str, Any],
) -> None:
    """Decode and measure images, and write a row of `row_type` for each.

    A row of an image that cannot be read has a `reason` and is zero otherwise.

    Args:
        out: .npy file to write.
        inputs: the zips by name.
        ids: of each image, which is its name in a zip.
        files: that zip of each.
        size: side in pixels.
        crops: how many are kept of each image.
        zoom: their magnification.
        limits: see `decode_sizes`.
    """
    rows = np.lib.format.open_memmap(out, "w+", row_type(size, crops), (len(ids),))
    sizes = (size, size * zoom) if crops else (size,)
    for row, id_, file in zip(rows, ids, files, strict=True):
        content = _archive(inputs.at[file], json.dumps(inputs.options)).read(id_)
        try:
            (image, *larger), width, height = decode_sizes(content, sizes=sizes, **limits)
        except UnreadableImageError as error:
            row["reason"] = str(error)
            continue
        row["image"], row["width"], row["height"] = image, width, height
        for source in larger:
            within = content_box(width, height, size * zoom)
            row["crops"] = choose_crops(source, within=within, count=crops, zoom=zoom)
        row["sha256"], row["fingerprint"] = exact_digest(image), fingerprint(image)
        for name, value in measure(image[content_box(width, height, size)]).items():
            row[name] = value
        found = find(image)
        count = row["key_points"]["count"] = len(found.scales)
        for name, values in found._asdict().items():
            row["key_points"][name][:count] = values
    rows.flush()


@lru_cache(maxsize=1)
def _archive(url: str, options: str) -> zipfile.ZipFile:
    # Kept open: reading the list of members, 1 kB each, for every piece would be quadratic. Pieces
    # go through the zips in order, so that the last one is enough.
    return zipfile.ZipFile(Files({"": url}, json.loads(options)).open(""))
