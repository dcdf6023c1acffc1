"""Time and memory of the stages as the set grows: `python -m benchmarks.scale --images 1000 10000`.

Draws random textures of 64 pixels in twelve classes, a third of them the test set, and runs each
stage on them in a process of its own, both trainings for one epoch. Prints its seconds by the clock
and of the processors (compare only these on a machine that others use), the most memory that its
processes held together (Linux only, without mapped files, whose pages are given up when memory is
short), the number of files it writes, and its processor time per image, relative to the set before.
Reads only params.yaml, writes only to a temporary folder.

Real images are far larger: the benchmark shows how the cost grows, not how high it is.
docs/scale.md holds the results.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from PIL import Image
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
CLASSES, SIDE, COARSE = 12, 64, 8
INTERVAL = 0.05  # seconds between two measurements of the memory
STAGES: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
HEAD = ("stage", "images", "seconds", "processor", "MB", "files", "to linear")
WIDTHS = ("16", ">9", ">9", ">10", ">7", ">6", ">10")


class Spent(NamedTuple):
    """Seconds by the clock and of the processors, MB of all processes together."""

    clock: float
    processor: float
    memory: float


def prepare(work: Path, count: int) -> None:
    """Make a folder in which stages run on `count` textures, below train/ and test/ by class."""
    for number in range(count):
        rng = np.random.default_rng([17, number])
        label, split = number % CLASSES, "test" if number // CLASSES % 3 == 2 else "train"
        path = work / f"images/{split}/class_{label:02}/{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(60, 256, (COARSE, COARSE, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    params["image_size"] = SIDE
    params["fetch"]["source"] = str(work / "images")
    params["scratch"]["epochs"] = 1
    params["advanced"]["scratch"]["warm_up"] = 0
    YAML().dump(params, work / "params.yaml")
    (work / "pretrain").symlink_to(ROOT / "pretrain")


def spend(work: Path, *command: str) -> Spent:
    """Run Python in a folder and measure it.

    Raises:
        RuntimeError: with its output, if it fails.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = psutil.Popen(
            [sys.executable, *command], cwd=work, env=environment, stdout=output, stderr=output
        )
        most, used = 0.0, {process.pid: 0.0}
        while process.poll() is None:
            memory = 0
            for one in [process, *process.children(recursive=True)]:
                with suppress(psutil.Error, FileNotFoundError):
                    used[one.pid] = sum(one.cpu_times()[:2])
                    memory += own_memory(one.pid)
            most = max(most, memory)
            time.sleep(INTERVAL)
        clock = time.perf_counter() - start
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:40]} ended with {process.returncode}:\n{printed}")
    return Spent(clock, sum(used.values()), most / 1e6)


def own_memory(process: int) -> int:
    """Return the bytes that a process holds without those of mapped files."""
    status = Path(f"/proc/{process}/status").read_text()
    held = status.partition("RssAnon:")[2].split()  # empty for a process that has just ended
    return int(held[0]) * 1024 if held else 0


def measure(counts: Sequence[int], stages: Sequence[str], folder: Path) -> None:
    """Run stages on sets of each size, in `folder/<size>`, and print a line for each."""
    before: dict[str, float] = {}
    print(*map(format, HEAD, WIDTHS), flush=True)
    for count in counts:
        work = folder / str(count)
        work.mkdir()
        prepare(work, count)
        for stage in stages:
            spent = spend(work, "-m", f"stages.{stage}")
            each = spent.processor / count
            outs = [work / out for out in STAGES[stage].get("outs", [])]
            files = sum(path.is_file() for out in outs for path in [out, *out.rglob("*")])
            growth = each / before.get(stage, each)
            values = (
                stage, f"{count:,}", f"{spent.clock:.1f}", f"{spent.processor:.1f}",
                f"{spent.memory:.0f}", f"{files}", f"{growth:.2f}",
            )  # fmt: skip
            print(*map(format, values, WIDTHS), flush=True)
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
