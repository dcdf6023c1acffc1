"""Run the frozen backbone once over all images: `python -m stages.embed`.

Reads `data/split` and the weights of the backbone. Writes `data/embed/`: for training, validation
and test an array of features float32 (images, views, D), in as many files as that of the images,
and the ids of its rows. Views are the dihedral turns and mirror images; where `split` kept crops at
a higher magnification, the mean of their features follows that of the whole image. The head then
trains on these in seconds, and a change of its parameters never runs the backbone again.

On the default, 1,080 images in 8 views and 4 crops through MobileNetV2 0.35, about a minute on two
cores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.cli.running import run_command
from stages.dataset.files import file_digest, replacing, write_table
from stages.dataset.index import PARTS, read_part
from stages.dataset.shards import create_shards, shard_size_of
from stages.engine.pieces import LOCAL, finished
from stages.models.embedders import (
    arrays_of,
    embed_piece,
    embedding_pieces,
    forget_network,
    network_files,
)
from stages.params.loading import load_params
from stages.params.schema import Engine, Onnx, Params


def run(
    *,
    backbone: str,
    weights: str,
    strides: Sequence[int],
    sha256: str | None,
    onnx: Onnx,
    views: int,
    seed: int,
    threads: int,
    engine: Engine = LOCAL,
    split: Path = Path("data/split"),
    out: Path = Path("data/embed"),
) -> None:
    """Embed every image of `split` in `views` views.

    Raises:
        ValueError: if the weights cannot be found or do not fit the backbone.
    """
    parts = {part: read_part(split, part) for part in PARTS}
    files = network_files(backbone, weights, sha256) if engine.kind == "ray" else {}
    network = {
        "backbone": backbone,
        "image_size": parts["train"].images.shape[1],
        "weights": weights,
        "strides": list(strides),
        "sha256": sha256,
        "onnx": onnx.model_dump(),
        "views": views,
        "seed": seed,
        "threads": threads,
        "files": list(files),
    }
    pieces = embedding_pieces(parts, network)
    arrays = {name: split / name for piece in pieces for name in arrays_of(piece)}
    state: list[Any] = [network, {name: file_digest(split / f"{name}.csv") for name in PARTS}]
    # The tables tell the images, but not the crops; the arrays are too large to be read for this.
    state.append(
        [(name, (at := path.stat()).st_size, at.st_mtime_ns) for name, path in arrays.items()]
    )
    with (
        finished(
            embed_piece, pieces, arrays | files, out,
            engine=engine, workers=0, threads=threads, state=state,
        ) as folder,
        replacing(out) as partial,
    ):  # fmt: skip
        partial.mkdir()
        forget_network()
        for name, part in parts.items():
            mine = [folder / piece.name for piece in pieces if piece.name.startswith(f"{name}-")]
            _join(mine, partial / f"{name}.npy", len(part.images), shard_size_of(part.images))
            write_table(part.index[["id"]], partial / f"{name}.csv")


def _join(pieces: Sequence[Path], path: Path, rows: int, shard_size: int) -> None:
    first = np.load(pieces[0], mmap_mode="r", allow_pickle=False)
    array = create_shards(path, (rows, *first.shape[1:]), first.dtype, shard_size=shard_size)
    at = 0
    for piece in pieces:
        features = np.load(piece, allow_pickle=False)
        array[at : at + len(features)] = features
        at += len(features)
    array.flush()


def run_with(params: Params, **folders: Path) -> None:
    """Run the stage with all parameters, in other folders than the usual ones where given."""
    run(
        backbone=params.pretrained.backbone,
        weights=params.pretrained.weights,
        strides=params.pretrained.strides,
        sha256=params.pretrained.sha256,
        onnx=params.pretrained.onnx,
        views=params.pretrained.views,
        seed=params.seed,
        threads=params.threads,
        engine=params.engine,
        **folders,
    )


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run_with(load_params())


if __name__ == "__main__":
    run_command(main, name="embed", doc=__doc__)
