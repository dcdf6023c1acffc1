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

import numpy as np
from tqdm import tqdm

from stages.cli.running import quiet_import, run_command
from stages.dataset.files import replacing, write_table
from stages.dataset.index import PARTS, read_part
from stages.dataset.shards import create_shards, shard_size_of
from stages.params.loading import load_params
from stages.params.schema import Onnx

BATCH = 32


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
    split: Path = Path("data/split"),
    out: Path = Path("data/embed"),
) -> None:
    """Embed every image of `split` in `views` views.

    Raises:
        ValueError: if the weights cannot be found or do not fit the backbone.
    """
    # TensorFlow takes seconds to import; a wrong parameter has been reported before.
    with quiet_import():
        from stages.models.runtime import set_up
    from stages.models.embedders import load_embedder
    from stages.models.embedding import embed_batch

    set_up(seed=seed, threads=threads)
    parts = {part: read_part(split, part) for part in PARTS}
    image_size = parts["train"].images.shape[1]
    network = load_embedder(
        backbone,
        image_size=image_size,
        weights=weights,
        strides=strides,
        sha256=sha256,
        onnx=onnx,
        threads=threads,
    )
    total = sum(len(part.images) for part in parts.values())
    with (
        replacing(out) as partial,
        tqdm(total=total, desc="embed", unit="image", disable=None) as progress,
    ):
        partial.mkdir()
        for name, part in parts.items():
            width = network.output_shape[-1] * (1 if part.crops is None else 2)
            shape = (len(part.images), views, width)
            shard_size = shard_size_of(part.images)
            array = create_shards(partial / f"{name}.npy", shape, np.float32, shard_size=shard_size)
            for start in range(0, len(part.images), BATCH):
                rows = slice(start, start + BATCH)
                images = np.asarray(part.images[rows])
                crops = None if part.crops is None else np.asarray(part.crops[rows])
                array[rows] = embed_batch(network, images, crops, views=views)
                progress.update(len(images))
            array.flush()
            write_table(part.index[["id"]], partial / f"{name}.csv")


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    params = load_params()
    run(
        backbone=params.pretrained.backbone,
        weights=params.pretrained.weights,
        strides=params.pretrained.strides,
        sha256=params.pretrained.sha256,
        onnx=params.pretrained.onnx,
        views=params.pretrained.views,
        seed=params.seed,
        threads=params.threads,
    )


if __name__ == "__main__":
    run_command(main, name="embed", doc=__doc__)
