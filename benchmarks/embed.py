"""The overhead of `embed` over the forward passes of its backbone: `python -m benchmarks.embed`.

Reads params.yaml, writes only to a temporary folder. Makes images and crops of noise, as `split`
writes them, and times in turn, in one process with the same threads: the bare forward passes of all
views, crops and stainings, over batches in memory; and the stage, which reads, turns and stains
images, loads the backbone, and writes features chunk by chunk.

Expected: 0.9 or more of the bare forward pass. With few images, loading the backbone weighs more.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from stages import embed
from tissue.backbones.embed_chunks import BATCH
from tissue.backbones.embedding import load_embedder
from tissue.common.files import write_json, write_table
from tissue.common.names import SPLITS
from tissue.common.runtime import set_up
from tissue.common.stains import views_per_staining
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params

CLASS = "drawn"


def make_split(folder: Path, count: int, params: Params) -> None:
    """Write what `embed` reads of `split`: one batch for validation and test, the rest to train."""
    rng = np.random.default_rng(params.seed)
    folder.mkdir(parents=True)
    side, crops = params.image_size, params.split.crops.count
    write_json([CLASS], folder / "classes.json")
    for name in SPLITS:
        rows = count - 2 * BATCH if name == "train" else BATCH
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (rows, side, side, 3), np.uint8))
        if crops:
            shape = (rows, crops, side, side, 3)
            np.save(folder / f"{name}_crops.npy", rng.integers(0, 256, shape, np.uint8))
        index = pd.DataFrame({"id": [f"{name}/{row}" for row in range(rows)]})
        index = index.assign(label=0, **{"class": CLASS})
        write_table(index, folder / f"{name}.csv")


def time_bare(passes: int, params: Params) -> float:
    """Return the seconds of the backbone's forward pass over so many images."""
    side = params.image_size
    network = load_embedder(params.pretrained, image_size=side, threads=params.threads)
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, side, side, 3), np.uint8)
    network.predict_on_batch(batch)  # the first call builds the graph
    start = time.perf_counter()
    for _ in range(passes // BATCH):
        network.predict_on_batch(batch)
    return (time.perf_counter() - start) * passes / (passes // BATCH * BATCH)


def time_stage(root: Path, params: Params) -> float:
    """Return the seconds of the stage, loading the backbone included."""
    start = time.perf_counter()
    embed.run(params, root)
    return time.perf_counter() - start


def compare(count: int, rounds: int, root: Path, params: Params) -> list[float]:
    """Print images per second of both, round by round; return the shares of the stage."""
    make_split(root / "data/split", count, params)
    crops, settings = params.split.crops.count, params.pretrained
    passes = count * (settings.views + crops)
    if settings.stainings:
        each = views_per_staining(settings.views, settings.stainings) + crops
        passes += (count - 2 * BATCH) * settings.stainings * each
    print(f"{passes} forward passes of {params.pretrained.backbone}, {params.threads} threads")
    print(f"{'bare, images/s':>16} {'embed, images/s':>16} {'share':>6}", flush=True)
    shares = []
    for _ in range(rounds):
        bare, stage = time_bare(passes, params), time_stage(root, params)
        shares.append(bare / stage)
        print(f"{passes / bare:16.1f} {passes / stage:16.1f} {shares[-1]:6.2f}", flush=True)
    return shares


def main() -> None:
    """Print the table and the median."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1024, help="more than 64")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    with tempfile.TemporaryDirectory() as folder:
        shares = compare(options.images, options.rounds, Path(folder), params)
    print(f"median share: {np.median(shares):.2f}")


if __name__ == "__main__":
    with command("embed"):
        main()
