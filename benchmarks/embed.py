"""What `embed` adds to the forward pass of its backbone: `python -m benchmarks.embed`.

Reads params.yaml, writes only to a temporary folder. Makes images and crops of noise as `split`
hands them on, and runs in turn, in one process with the same threads: the bare forward pass over
batches that lie in memory, of as many images as there are in all views, crops and stainings; and
the stage, which reads them, turns and stains them, loads the backbone anew and writes features
piece by piece.

Expected: 0.9 or more of the bare forward pass. With few images, loading the backbone weighs more.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tissue.common.files import write_table
from tissue.common.names import SPLITS
from tissue.common.runtime import quiet_import
from tissue.config.loading import load_params
from tissue.config.schema import Params


def make_split(folder: Path, count: int, params: Params) -> None:
    """Write what `embed` reads of `split`: most images in training, a batch in each other part."""
    from tissue.backbones.embed_chunks import BATCH

    rng = np.random.default_rng(params.seed)
    side, crops = params.image_size, params.split.crops.count
    for part in SPLITS:
        rows = count - 2 * BATCH if part == "train" else BATCH
        np.save(folder / f"{part}.npy", rng.integers(0, 256, (rows, side, side, 3), np.uint8))
        if crops:
            shape = (rows, crops, side, side, 3)
            np.save(folder / f"{part}_crops.npy", rng.integers(0, 256, shape, np.uint8))
        write_table(pd.DataFrame({"id": [f"{part}/{row}" for row in range(rows)]}),
                    folder / f"{part}.csv")  # fmt: skip


def time_bare(passes: int, params: Params) -> float:
    """Return the seconds of the backbone's forward pass over so many images."""
    from tissue.backbones.embed_chunks import BATCH

    from tissue.prediction.classifier import frozen_network

    network, side = frozen_network(params), params.image_size
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, side, side, 3), np.uint8)
    network.predict_on_batch(batch)  # the first call builds the graph
    start = time.perf_counter()
    for _ in range(passes // BATCH):
        network.predict_on_batch(batch)
    return (time.perf_counter() - start) * passes / (passes // BATCH * BATCH)


def time_stage(split: Path, out: Path, params: Params) -> float:
    """Return the seconds of the stage, loading the backbone included."""
    from stages.embed import run_with

    start = time.perf_counter()
    run_with(params.pretrained, seed=params.seed, threads=params.threads, split=split, out=out)
    return time.perf_counter() - start


def compare(count: int, rounds: int, folder: Path, params: Params) -> list[float]:
    """Print images a second of both, round by round; return what share the stage's are."""
    from tissue.backbones.embed_chunks import BATCH

    from tissue.common.stains import views_per_staining

    split = folder / "split"
    split.mkdir()
    make_split(split, count, params)
    crops, settings = params.split.crops.count, params.pretrained
    passes = count * (settings.views + crops)
    if settings.stainings:
        each = views_per_staining(settings.views, settings.stainings) + crops
        passes += (count - 2 * BATCH) * settings.stainings * each
    print(f"{passes} forward passes of {params.pretrained.backbone}, {params.threads} threads")
    print(f"{'bare, images/s':>16} {'embed, images/s':>16} {'share':>6}", flush=True)
    shares = []
    for _ in range(rounds):
        bare, stage = time_bare(passes, params), time_stage(split, folder / "embed", params)
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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_import():
        from tissue.common.runtime import set_up

    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    with tempfile.TemporaryDirectory() as folder:
        shares = compare(options.images, options.rounds, Path(folder), params)
    print(f"median share: {np.median(shares):.2f}")


if __name__ == "__main__":
    main()
