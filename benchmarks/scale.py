"""Time and memory of the stages as the set grows: `python -m benchmarks.scale --images 1000 10000`.

Draws random textures of 64 pixels in twelve classes, a third of them the test set, and runs each
stage on them as a process of its own, both trainings for one epoch. Prints its seconds by the clock
and of the processors (on a machine that others use, only these can be compared), the memory of its
largest process, the number of files it hands over, and how much more processor time it took than
in proportion to the set before. Reads only params.yaml, writes only to a temporary folder.

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
STAGES = {
    "fetch": "data/raw",
    "split": "data/split",
    "embed": "data/embed",
    "train_scratch": "data/models",
    "train_pretrained": "data/models",
    "evaluate": "data/predictions",
    "tsne": "data/tsne",
    "report": "plots",
}


class Spent(NamedTuple):
    """Seconds by the clock and of the processors, MB of the largest process."""

    clock: float
    processor: float
    memory: float


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
    params["scratch"]["epochs"] = params["pretrained"]["epochs"] = 1
    params["scratch"]["warm_up"] = 0
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
    return Spent(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)


def measure(counts: Sequence[int], stages: Sequence[str], folder: Path) -> None:
    """Run stages on sets of each size, in `folder/<size>`."""
    before: dict[str, float] = {}
    print(
        f"{'stage':16} {'images':>9} {'seconds':>9} {'processor':>10} {'MB':>7} {'files':>6} "
        f"{'to linear':>10}",
        flush=True,
    )
    for count in counts:
        work = folder / str(count)
        work.mkdir()
        prepare(work, count)
        for stage in stages:
            now = spend(work, "-m", f"stages.{stage}")
            each = now.processor / count
            files = sum(path.is_file() for path in (work / STAGES[stage]).rglob("*"))
            print(
                f"{stage:16} {count:9,} {now.clock:9.1f} {now.processor:10.1f} {now.memory:7.0f} "
                f"{files:6} {each / before.get(stage, each):10.2f}",
                flush=True,
            )
            before[stage] = each


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000], help="set sizes")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(sorted(options.images), options.stages, Path(folder))


if __name__ == "__main__":
    main()
