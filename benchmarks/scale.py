"""Time and memory of the stages as the set grows: `python -m benchmarks.scale --images 1000 10000`.

Draws random textures of 64 pixels in twelve classes, a third of them the test set, and runs each
stage on them as a process of its own. Prints its seconds, the memory of its largest process, and
how much longer it took than in proportion to the smallest set. Reads only params.yaml, writes only
to a temporary folder.

Such images are far smaller than real ones: what is learnt is how the cost grows, not how high it
is. docs/scale.md holds the results.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
CLASSES, SIDE, COARSE = 12, 64, 8
STAGES = ("fetch", "split", "embed")


class Spent(NamedTuple):
    """Seconds by the clock, MB of the largest process, and what was printed."""

    seconds: float
    memory: float
    printed: str


def draw(folder: Path, count: int) -> None:
    """Write `count` textures as JPEG, below train/ and test/, in folders of classes."""
    for number in range(count):
        rng = np.random.default_rng([17, number])
        label, part = number % CLASSES, "test" if number // CLASSES % 3 == 2 else "train"
        path = folder / part / f"class_{label:02}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(60, 256, (COARSE, COARSE, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)


def prepare(work: Path, count: int) -> None:
    """Make a folder in which stages run on `count` textures."""
    draw(work / "images", count)
    text = YAML()
    params = text.load(ROOT / "params.yaml")
    params["image_size"] = SIDE
    params["fetch"]["source"] = str(work / "images")
    text.dump(params, work / "params.yaml")
    (work / "pretrain").symlink_to(ROOT / "pretrain")


def spend(work: Path, *command: str) -> Spent:
    """Run Python in a folder and measure it.

    Raises:
        RuntimeError: with what it printed, if it fails.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=work, env=environment, stdout=output, stderr=output
        )
        # Of this process and those it waited for; `wait` would not tell their memory.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:40]} ended with {process.returncode}:\n{printed}")
    return Spent(seconds, used.ru_maxrss / 1e3, printed)


def measure(counts: Sequence[int], folder: Path) -> None:
    """Run the stages on sets of each size, in `folder/<size>`."""
    spent: dict[tuple[str, int], Spent] = {}
    print(f"{'stage':8} {'images':>9} {'seconds':>9} {'MB':>7} {'to linear':>10}", flush=True)
    for count in counts:
        work = folder / str(count)
        work.mkdir()
        prepare(work, count)
        for stage in STAGES:
            now = spent[stage, count] = spend(work, "-m", f"stages.{stage}")
            linear = spent[stage, counts[0]].seconds * count / counts[0]
            row = f"{stage:8} {count:9,} {now.seconds:9.1f} {now.memory:7.0f}"
            print(f"{row} {now.seconds / linear:10.2f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000], help="set sizes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(sorted(options.images), Path(folder))


if __name__ == "__main__":
    main()
