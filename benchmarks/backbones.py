"""Size, features and speed of every backbone, as a table in Markdown.

Weights are random, since speed does not depend on them. Images per second are the median of a few
batches after a first one that does not count. Each backbone runs in a process of its own, so that
none is affected by another.

Run: python -m benchmarks.backbones
Expected on two cores: see docs/backbones.md; about 4 minutes.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import numpy as np

from tissue.common.backbones import BACKBONES
from tissue.common.runtime import process_pool, set_up
from tissue.config.command import command
from tissue.config.loading import load_params


class Row(NamedTuple):
    """What is measured of a backbone: weights, features, images per second."""

    parameters: int
    width: int
    speed: float


def measure(key: str, *, image_size: int, batch: int, repeats: int, threads: int) -> Row:
    """Run a backbone on images of noise."""
    set_up(seed=0, threads=threads)
    from tissue.backbones.build import build_backbone

    network = build_backbone(key, image_size=image_size, weights="random")
    shape = (batch, image_size, image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        network.predict_on_batch(images)
        seconds.append(time.perf_counter() - start)
    speed = batch / statistics.median(seconds[1:])
    return Row(network.count_params(), network.output_shape[-1], speed)


def main() -> None:
    """Print one row per backbone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=BACKBONES)
    parser.add_argument("--image-size", type=int, default=224, help="side in pixels")
    parser.add_argument("--batch", type=int, default=16, help="images per batch")
    parser.add_argument("--repeats", type=int, default=3, help="batches that are timed")
    arguments = parser.parse_args()
    settings = {
        "image_size": arguments.image_size,
        "batch": arguments.batch,
        "repeats": arguments.repeats,
        "threads": load_params().threads,
    }
    print("| backbone | parameters | D | images/s |\n|---|---:|---:|---:|")
    for key in arguments.backbones:
        with process_pool(1) as pool:
            row = pool.submit(measure, key, **settings).result()
        speed = f"{row.speed:.2g}" if row.speed < 10 else f"{row.speed:.0f}"
        print(f"| {key} | {row.parameters / 1e6:.1f} M | {row.width} | {speed} |", flush=True)


if __name__ == "__main__":
    with command("backbones"):
        main()
