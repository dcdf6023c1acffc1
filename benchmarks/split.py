"""Speed and memory of `split`: `python -m benchmarks.split`.

Speed: 3000x3000 JPEGs (drawn cores, turned and re-compressed so that no two files are the same)
are read as `split` reads them, which decodes, measures, fingerprints and finds key points, by one
process and by two; and by `keras.utils.image_dataset_from_directory`, which decodes and shrinks, in
TensorFlow's threads. All make 224 px arrays, in the same run, one after the other.

Memory: the most that `split` as a whole and its processes hold at 2,000 and at 20,000 images. The
images are distinct 224 px drawings: what is held depends on their number and not on their size,
but for the one image that each process decodes (27 MB at 3000 px, a sixteenth of it in a JPEG).

Expected: two processes 1.7 times as fast as one or more, and two thirds as fast as Keras, which
measures nothing; less than 400 MB a process. A process takes a second to start, so with few images
less. All wait for the same entropy decoding, which no reader of a JPEG can skip.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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
WORKERS = 2  # of `split` as a whole


def make_files(folder: Path, count: int, side: int) -> int:
    """Write `count` JPEGs of `side` pixels below `folder` in two classes; return their bytes."""
    plan = plan_cores(train_per_class=1, test_per_class=0, size=512, seed=1)[:8]
    drawn = [Image.open(io.BytesIO(draw_jpeg(core))).resize((side, side)) for core in plan]
    size = 0
    for number in range(count):
        path = folder / f"class_{number % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = drawn[number % len(drawn)].rotate(90 * (number // len(drawn) % 4))
        picture.save(path, quality=88 + number % 5)
        size += path.stat().st_size
    return size


def pack(folder: Path, raw: Path) -> pd.DataFrame:
    """Put the files into `raw` as `fetch` does; return the manifest."""
    raw.mkdir()
    paths = sorted(folder.rglob("*.jpg"))
    with zipfile.ZipFile(raw / "images-000.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.relative_to(folder).as_posix())
    ids = [path.relative_to(folder).as_posix() for path in paths]
    manifest = pd.DataFrame({"id": ids, "file": "images-000.zip"})
    manifest.to_csv(raw / "manifest.csv", index=False)
    return manifest


class Spent(NamedTuple):
    """Seconds by the clock and of the processors."""

    clock: float
    processor: float


@contextmanager
def spending() -> Iterator[list[Spent]]:
    """Put the time that the block takes, its processes included, into the list it yields."""
    before = time.perf_counter(), sum(os.times()[:4])
    spent: list[Spent] = []
    yield spent
    spent.append(Spent(time.perf_counter() - before[0], sum(os.times()[:4]) - before[1]))


def time_ours(manifest: pd.DataFrame, raw: Path, *, workers: int) -> Spent:
    """Return what `split` takes to read the images."""
    settings = load_params().split
    settings = settings.model_copy(update={"crops": settings.crops.model_copy(update={"count": 0})})
    with spending() as spent:
        work = reading_work(manifest, settings, raw=raw, size=SIDE)
        with run_chunks(work, raw / "read", LOCAL_ENGINE, workers=workers) as folder:
            read = StoredRows([folder / chunk.name for chunk in work.chunks]).table()
    assert (read["reason"] == "").all()
    return spent[0]


def time_keras(folder: Path) -> Spent:
    """Return what Keras takes for the same files."""
    import keras

    with spending() as spent:
        data = keras.utils.image_dataset_from_directory(
            folder, image_size=(SIDE, SIDE), shuffle=False, verbose=False
        )
        for _ in data:
            pass
    return spent[0]


def compare_speed(count: int, side: int, folder: Path) -> None:
    """Print images a second of both."""
    files = folder / "files"
    size = make_files(files, count, side)
    manifest = pack(files, folder / "raw")
    print(f"{count} JPEGs of {side} x {side} pixels, {size / count / 1e6:.1f} MB each", flush=True)
    runs = {f"split, {n} processes": time_ours(manifest, folder / "raw", workers=n) for n in (2, 1)}
    runs["keras.utils.image_dataset_from_directory"] = keras = time_keras(files)
    runs["split, 2 processes, again"] = time_ours(manifest, folder / "raw", workers=2)
    print(f"{'reader':42} {'images/s':>9} {'processor, ms an image':>24} {'against Keras':>14}")
    for name, spent in runs.items():
        print(
            f"{name:42} {count / spent.clock:9.1f} {spent.processor / count * 1e3:24.1f}"
            f" {keras.clock / spent.clock:13.1f}x",
            flush=True,
        )


def make_small(raw: Path, count: int, side: int = SIDE) -> None:
    """Write `count` distinct drawings, in two classes with a test set, as `fetch` does."""
    raw.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(raw / "images-000.zip", "w") as archive:
        for number in range(count):
            rng = np.random.default_rng([7, number])
            coarse = rng.integers(90, 255, (28, 28, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG")
            part = ("train", "train", "test")[number % 3]
            name = f"class_{number % 2}"
            id_ = f"{part}/{name}/{number:05d}.jpg"
            archive.writestr(id_, buffer.getvalue())
            rows.append((id_, part, name))
    manifest = pd.DataFrame(rows, columns=["id", "split", "class"]).sort_values("id")
    manifest = manifest.assign(file="images-000.zip", source="drawn", donor="", slide="")
    manifest.assign(antibody="", sha256="").to_csv(raw / "manifest.csv", index=False)


SPLIT = """
import resource, sys
from pathlib import Path
from stages import split
from tissue.config.loading import load_params
folder = Path(sys.argv[1])
split.run(load_params(Path(sys.argv[2])), folder, workers=2)
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print("peak", resource.getrusage(who).ru_maxrss)
"""


def measure_memory(count: int, folder: Path) -> None:
    """Print the most memory of `split`: of its main process, and of the largest other."""
    make_small(folder / "data/raw", count)
    start = time.perf_counter()
    command = [sys.executable, "-c", SPLIT, str(folder), "params.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    main, other = (int(line.split()[1]) / 1024 for line in done.stdout.splitlines()[-2:])
    print(
        f"{count:6d} images: main process {main:.0f} MB, {WORKERS} others of at most {other:.0f} "
        f"MB; {time.perf_counter() - start:.0f} s",
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
    if options.images:
        with tempfile.TemporaryDirectory() as folder:
            compare_speed(options.images, options.side, Path(folder))
    for count in options.memory:
        with tempfile.TemporaryDirectory() as folder:
            measure_memory(count, Path(folder))


if __name__ == "__main__":
    main()
