"""Run the frozen backbone once over all images: `python -m stages.embed`.

Reads `data/split` and the weights of the backbone. Writes `data/embed/`: for training, validation
and test an array of features float32 (images, views, D), in as many files as that of the images,
and the ids of its rows; and `network.json`, the parameters that made them. Views are the dihedral
turns and mirror images; where `split` kept crops at a higher magnification, the mean of their
features follows that of the whole image. The training images are embedded once more in other
stains, `train_stained`, so that the head learns what does not hang on them. It then trains on these
in seconds, and a change of its parameters never runs the backbone again.

On the default, 1,080 images in 8 views and 4 crops through MobileNetV2 0.35, and 576 of them again
in two stainings of 2 views and 4 crops, about 90 s on two cores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.cli.running import run_command
from stages.dataset.features import MADE_BY, RECORDED, STAINED
from stages.dataset.files import file_digest, replacing, write_json, write_table
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
from stages.params.schema import Engine, Onnx, Pretrained


def run(
    *,
    backbone: str,
    weights: str,
    strides: Sequence[int],
    sha256: str | None,
    onnx: Onnx,
    views: int,
    stainings: int,
    stain_jitter: float,
    seed: int,
    threads: int,
    engine: Engine = LOCAL,
    split: Path = Path("data/split"),
    out: Path = Path("data/embed"),
) -> None:
    """Embed every image of `split` in all views, those of training in other stains as well.

    Raises:
        ValueError: if the weights cannot be found or do not fit the backbone.
    """
    parts = {part: read_part(split, part) for part in PARTS}
    if stainings:
        parts[STAINED] = parts["train"]
    on_ray = engine.kind == "ray"
    needed = {}
    if on_ray or sha256 is None:
        needed = network_files(
            backbone, weights, sha256, image_size=parts["train"].images.shape[1], download=on_ray
        )
    files = needed if on_ray else {}
    network = {
        "backbone": backbone,
        "image_size": parts["train"].images.shape[1],
        "weights": weights,
        "strides": list(strides),
        "sha256": sha256,
        "onnx": onnx.model_dump(),
        "views": views,
        "stainings": stainings,
        "stain_jitter": stain_jitter,
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
    if sha256 is None:  # else the name of a file would be all that is known of it
        state.append({name: file_digest(at) for name, at in needed.items() if at.is_file()})
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
        write_json({name: network[name] for name in RECORDED}, partial / MADE_BY)


def _join(pieces: Sequence[Path], path: Path, rows: int, shard_size: int) -> None:
    first = np.load(pieces[0], mmap_mode="r", allow_pickle=False)
    array = create_shards(path, (rows, *first.shape[1:]), first.dtype, shard_size=shard_size)
    at = 0
    for piece in pieces:
        features = np.load(piece, allow_pickle=False)
        array[at : at + len(features)] = features
        at += len(features)
    array.flush()


def run_with(settings: Pretrained, **more: Any) -> None:
    """Run the stage with the settings that features depend on."""
    run(
        backbone=settings.backbone,
        weights=settings.weights,
        strides=settings.strides,
        sha256=settings.sha256,
        onnx=settings.onnx,
        views=settings.views,
        stainings=settings.stainings,
        stain_jitter=settings.stain_jitter,
        **more,
    )


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run_with(params.pretrained, seed=params.seed, threads=params.threads, engine=params.engine)


if __name__ == "__main__":
    run_command(main, name="embed", doc=__doc__)
