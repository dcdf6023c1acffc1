"""The frozen network that `embed` runs, whichever kind of file it comes from, piece by piece."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.cli.running import quiet_import
from stages.dataset.features import STAINED
from stages.dataset.index import Part
from stages.dataset.shards import parts_of, read_rows, shard_path
from stages.engine.files import Files
from stages.engine.pieces import ROWS, Piece
from stages.models.embedding import Embedder, inputs_of, pool
from stages.models.names import EMBEDDED_WEIGHTS
from stages.models.stainings import stain_again, views_of_each
from stages.params.schema import Onnx

BATCH = 32
SUFFIXES = ("", "_crops")
Item = TypeVar("Item")


def load_embedder(
    backbone: str,
    *,
    image_size: int,
    weights: str,
    strides: Sequence[int],
    sha256: str | None,
    onnx: Onnx,
    threads: int,
) -> Embedder:
    """Build a backbone of Keras, or open one from an ONNX file.

    Args:
        backbone: a key of `BACKBONES`, or a path that ends in .onnx.
        image_size: side S of the images, in pixels.
        weights: see `build_backbone`; those of an ONNX file are in it.
        strides: see `build_backbone`; an ONNX file has outputs of its own.
        sha256: expected digest of the file of the weights or of the ONNX file.
        onnx: how an ONNX file wants its images and is read.
        threads: for an ONNX file; those of Keras are set with its runtime.

    Raises:
        ValueError: if a file cannot be found, does not fit, or is not the expected one.
    """
    if backbone.endswith(".onnx"):
        from stages.models.onnx_backbone import OnnxBackbone

        return OnnxBackbone(
            Path(backbone), image_size=image_size, sha256=sha256, settings=onnx, threads=threads
        )
    from stages.models.backbones import build_backbone

    return build_backbone(
        backbone, image_size=image_size, weights=weights, strides=strides, sha256=sha256
    )


def network_files(
    backbone: str, weights: str, sha256: str | None, *, image_size: int, download: bool
) -> dict[str, Path]:
    """Return the files that a network is loaded from, the first of which is given by path.

    None for ImageNet weights, which Keras finds itself; with `download` they are fetched and
    checked here, once, since processes that download at the same time write over each other.

    Raises:
        ValueError: if a file is not what it should be, or cannot be downloaded.
    """
    if backbone.endswith(".onnx"):
        from stages.models.onnx_backbone import checked_files

        path = Path(backbone)
        found = checked_files(path, sha256)
        return {file.relative_to(path.parent).as_posix(): file for file in found}
    if weights == "imagenet":
        if not download:
            return {}
        with quiet_import():
            from stages.models.backbones import build_backbone, downloaded

        build_backbone(backbone, image_size=image_size, weights=weights, sha256=sha256)
        path = downloaded(backbone)
        return {path.name: path}
    path = EMBEDDED_WEIGHTS if weights == "embedded" else Path(weights)
    return {path.name: path}


def embedding_pieces(parts: Mapping[str, Part], network: dict[str, Any]) -> list[Piece]:
    """Cut all images into pieces for `embed_piece`, none of them across two files of an array.

    Args:
        parts: by name, the parts that `split` wrote; as `STAINED` that of training once more.
        network: see `embed_piece`.
    """
    pieces = []
    for name, part in parts.items():
        stained = name == STAINED
        source = "train" if stained else name
        for number, rows in enumerate(map(len, parts_of(part.images))):
            files = [shard_path(Path(f"{source}{suffix}.npy"), number).name for suffix in SUFFIXES]
            for at in range(0, rows, ROWS):
                count = min(ROWS, rows - at)
                arguments = {
                    "images": files[0],
                    "crops": files[1] if part.crops is not None else None,
                    "start": at,
                    "count": count,
                    "stained": stained,
                    "network": network,
                }
                about = f"rows {at} to {at + count - 1} of {files[0]}"
                file = f"{name}-{number:04}-{at:08}.npy"
                pieces.append(Piece(file, about, count, arguments))
    return pieces


def arrays_of(piece: Piece) -> list[str]:
    """Return the names of the arrays that a piece reads."""
    return [name for key in ("images", "crops") if (name := piece.arguments[key]) is not None]


def embed_piece(
    out: Path,
    inputs: Files,
    *,
    images: str,
    crops: str | None,
    start: int,
    count: int,
    stained: bool,
    network: Mapping[str, Any],
) -> None:
    """Write the features of some images, float32 (count, views, D).

    Args:
        out: .npy file to write.
        inputs: files by name: those of the images and crops, and those of the network.
        images: name of an array uint8 (N, S, S, 3).
        crops: name of an array uint8 (N, C, S, S, 3), or None.
        start: the first of the rows.
        count: their number.
        stained: whether in other stains, as `stain_again` gives them.
        network: the arguments of `load_embedder` with `seed`, `views`, `stainings`, `stain_jitter`
            and `files`, the names among `inputs` of those of `network_files`, or none where the
            network finds them itself.
    """
    embedder = _network(json.dumps([network, inputs._asdict()], sort_keys=True))
    views, copies = network["views"], 1
    if stained:
        copies = network["stainings"]
        views = views_of_each(views, copies)
    starts = range(start, start + count, BATCH)

    def prepared() -> Iterator[NDArray[np.uint8]]:
        for at in starts:
            rows = slice(at, min(at + BATCH, start + count))
            whole = read_rows(inputs.open(images), rows)
            magnified = None if crops is None else read_rows(inputs.open(crops), rows)
            if not stained:
                yield from inputs_of(whole, magnified, views=views)
                continue
            for other in stain_again(
                whole, magnified,
                stainings=copies, jitter=network["stain_jitter"], seed=network["seed"],
            ):  # fmt: skip
                yield from inputs_of(*other, views=views)

    outputs = [embedder.predict_on_batch(batch) for batch in ahead(prepared())]
    each = len(outputs) // (len(starts) * copies)
    features = [pool(outputs[i : i + each], views=views) for i in range(0, len(outputs), each)]
    of_each = [np.concatenate(features[number::copies]) for number in range(copies)]
    np.save(out, np.concatenate(of_each, axis=1))


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, each made in a thread while the caller has the one before."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


@lru_cache(maxsize=1)
def _network(described: str) -> Embedder:
    # One a process: it takes seconds to load, a piece not many more to run.
    settings, inputs = json.loads(described)
    with quiet_import():
        from stages.models.runtime import set_up

    set_up(seed=settings["seed"], threads=settings["threads"])
    backbone, weights = settings["backbone"], settings["weights"]
    with Files(**inputs).here(settings["files"]) as paths:
        for first in list(paths.values())[:1]:
            if backbone.endswith(".onnx"):
                backbone = str(first)
            else:
                weights = str(first)
        return load_embedder(
            backbone,
            image_size=settings["image_size"],
            weights=weights,
            strides=settings["strides"],
            sha256=settings["sha256"],
            onnx=Onnx(**settings["onnx"]),
            threads=settings["threads"],
        )


def forget_network() -> None:
    """Let go of the network that `embed_piece` has loaded in this process."""
    _network.cache_clear()
