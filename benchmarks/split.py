"""Speed and memory of `split`: `python -m benchmarks.split`.

Speed: 3000x3000 JPEGs (drawn cores, turned and re-compressed, so that no two files are the same)
are read as `split` reads them, which decodes, measures and finds key points, by one
process and by two; and by `keras.utils.image_dataset_from_directory`, which decodes and shrinks, in
TensorFlow's threads. All make 224 px arrays, in the same run, one after the other.

Memory: the most that the main process of `split` and each of its two others hold at 2,000 and at
20,000 images. The images are distinct 224 px drawings: memory depends on their number and not on
their size, except for the one image that each process decodes (27 MB at 3000 px, a sixteenth of it
for a JPEG).

Expected: two processes at least 1.7 times as fast as one, and two thirds as fast as Keras, which
measures nothing; less than 400 MB per process. A process takes a second to start, so the gain is
smaller with few images. All readers spend most time on the entropy decoding of the JPEGs.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from tissue.chunks.running import LOCAL_ENGINE, run_chunks
from tissue.config.loading import load_params
from tissue.images.reading import reading_work
from tissue.images.stored import StoredRows
from tissue.phantom.core import draw_jpeg
from tissue.phantom.plan import plan_cores

SIDE = 224
MEASURE_SPLIT = """
import resource, sys
from pathlib import Path
from stages import split
from tissue.config.loading import load_params
split.run(load_params(), Path(sys.argv[1]), workers=2)
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print("peak", resource.getrusage(who).ru_maxrss)
"""


def make_files(folder: Path, count: int, side: int) -> None:
    """Write `count` JPEGs of `side` pixels below `folder` in two classes."""
    plan = plan_cores(train_per_class=1, test_per_class=0, size=512, seed=1)[:8]
    drawn = [Image.open(io.BytesIO(draw_jpeg(core))).resize((side, side)) for core in plan]
    for number in range(count):
        path = folder / f"class_{number % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = drawn[number % len(drawn)].rotate(90 * (number // len(drawn) % 4))
        picture.save(path, quality=88 + number % 5)


def write_raw(raw: Path, images: Iterable[tuple[str, bytes]]) -> pd.DataFrame:
    """Write files by id, `<split>/<class>/<name>`, as `fetch` does; return the manifest."""
    raw.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(raw / "images-000.zip", "w") as archive:
        for id_, content in images:
            archive.writestr(id_, content)
            rows.append((id_, *id_.split("/")[:2]))
    manifest = pd.DataFrame(rows, columns=["id", "split", "class"]).sort_values("id")
    manifest = manifest.assign(file="images-000.zip", source="drawn", donor="", slide="")
    manifest.assign(antibody="", sha256="", x="", y="", mpp="").to_csv(
        raw / "manifest.csv", index=False
    )
    return manifest


class Spent(NamedTuple):
    """Seconds by the clock and of the processors, those of child processes included."""

    clock: float
    processor: float


def spend(work: Callable[[], None]) -> Spent:
    """Do the work and measure the time it takes."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    work()
    return Spent(time.perf_counter() - start, sum(os.times()[:4]) - before)


def read_with_split(manifest: pd.DataFrame, raw: Path, *, workers: int) -> None:
    """Read the images as `split` does, without crops."""
    settings = load_params().split
    settings = settings.model_copy(update={"crops": settings.crops.model_copy(update={"count": 0})})
    work = reading_work(manifest, settings, raw=raw, size=SIDE)
    with run_chunks(work, raw / "read", LOCAL_ENGINE, workers=workers) as folder:
        table = StoredRows([folder / chunk.name for chunk in work.chunks]).table()
    assert (table["reason"] == "").all()


def read_with_keras(folder: Path) -> None:
    """Read the same files with Keras."""
    import keras

    data = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIDE, SIDE), shuffle=False, verbose=False
    )
    for _ in data:
        pass


def compare_speed(count: int, side: int, folder: Path) -> None:
    """Print the images per second of both readers."""
    files, raw = folder / "files", folder / "raw"
    make_files(files, count, side)
    paths = sorted(files.rglob("*.jpg"))
    manifest = write_raw(
        raw, ((f"train/{path.relative_to(files).as_posix()}", path.read_bytes()) for path in paths)
    )
    size = sum(path.stat().st_size for path in paths) / count / 1e6
    print(f"{count} JPEGs of {side} x {side} pixels, {size:.1f} MB each", flush=True)

    def ours(workers: int) -> Spent:
        return spend(lambda: read_with_split(manifest, raw, workers=workers))

    runs = {f"split, {n} processes": ours(n) for n in (2, 1)}
    runs["keras.utils.image_dataset_from_directory"] = keras = spend(lambda: read_with_keras(files))
    runs["split, 2 processes, again"] = ours(2)
    print(f"{'reader':42} {'images/s':>9} {'processor, ms an image':>24} {'against Keras':>14}")
    for name, spent in runs.items():
        print(
            f"{name:42} {count / spent.clock:9.1f} {spent.processor / count * 1e3:24.1f}"
            f" {keras.clock / spent.clock:13.1f}x",
            flush=True,
        )


def make_small(raw: Path, count: int, side: int = SIDE) -> None:
    """Write `count` distinct drawings, in two classes with a test set, as `fetch` does."""

    def draw(number: int) -> bytes:
        rng = np.random.default_rng([7, number])
        coarse = rng.integers(90, 255, (28, 28, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(buffer, "JPEG")
        return buffer.getvalue()

    names = [f"{'test' if n % 3 == 2 else 'train'}/class_{n % 2}/{n:05d}.jpg" for n in range(count)]
    write_raw(raw, ((id_, draw(number)) for number, id_ in enumerate(names)))


def measure_memory(count: int, folder: Path) -> None:
    """Print the most memory that the main process of `split` and the largest other hold."""
    make_small(folder / "data/raw", count)
    start = time.perf_counter()
    command = [sys.executable, "-c", MEASURE_SPLIT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    main, other = (int(line.split()[1]) / 1024 for line in done.stdout.splitlines()[-2:])
    print(
        f"{count:6d} images: main process {main:.0f} MB, 2 others of at most {other:.0f} MB; "
        f"{time.perf_counter() - start:.0f} s",
        flush=True,
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1200, help="of 3000 x 3000 px, for speed")
    parser.add_argument("--side", type=int, default=3000)
    parser.add_argument("--memory", type=int, nargs="*", default=[2000, 20000])
    options = parser.parse_args()
    # Memory first: a process starts with the peak of its parent, which grows with Keras.
    for count in options.memory:
        with tempfile.TemporaryDirectory() as folder:
            measure_memory(count, Path(folder))
    if options.images:
        with tempfile.TemporaryDirectory() as folder:
            compare_speed(options.images, options.side, Path(folder))


if __name__ == "__main__":
    main()
