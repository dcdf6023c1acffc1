"""Whole slides: memory and speed of `fetch`: `python -m benchmarks.slides`.

Draws one slide of 40,000 x 40,000 pixels with four levels, of phantom tissue, at 0.25 micrometres
per pixel, and fetches it as two classes in a process of its own. Needs requirements/slides.txt.

The bare loop opens the slide and calls `read_region` for the same tiles at the same level, one
after the other, and does nothing with them. `tiles` reads them as `fetch` does, with scaling and
JPEG. Both alternate; the best of three counts.

Expected: less than 1 GB; at least 0.8 of the tiles per second of the bare loop.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawn_slides import GLASS, TILE, write_pyramid
from stages import fetch
from tissue.config.fetch import Slides
from tissue.config.loading import load_params
from tissue.phantom.core import draw_core
from tissue.phantom.plan import plan_cores
from tissue.slides.opening import open_slide
from tissue.slides.tiles import Tile, choose_tiles, read_tile, tile_side

DOWNSAMPLES = (1, 4, 16, 64)
MPP = 0.25
DESCRIPTION = f"Aperio Image Library v12|AppMag = 40|MPP = {MPP}"
WORKERS = 2
REPEATS = 3
MOST = 500  # tiles


def write_slide(path: Path, side: int) -> Path:
    """Write a slide: drawn cores side by side, with glass in the lower half."""
    core = plan_cores(train_per_class=1, test_per_class=0, size=2048, seed=1)[0]
    levels = [
        np.asarray(Image.fromarray(draw_core(core)).resize((2048 // by, 2048 // by)))
        for by in DOWNSAMPLES
    ]

    def read(level: int, left: int, top: int) -> NDArray[np.uint8]:
        if (top + TILE) * DOWNSAMPLES[level] > side / 2:
            return np.full((TILE, TILE, 3), GLASS, np.uint8)
        period = len(levels[level])
        rows = (top + np.arange(TILE)) % period
        columns = (left + np.arange(TILE)) % period
        return levels[level][np.ix_(rows, columns)]

    size = (side, side)
    return write_pyramid(
        path, size, read, downsamples=DOWNSAMPLES, mpp=None, description=DESCRIPTION
    )


def read_bare(path: Path, tiles: list[Tile], settings: Slides) -> None:
    """Call `read_region` for each tile at the level that fits, and drop what it returns."""
    with open_slide(path) as slide:
        side = tile_side(slide, settings)
        level = slide.reader.get_best_level_for_downsample(side / settings.size)
        pixels = round(side / slide.reader.level_downsamples[level])
        for tile in tiles:
            slide.reader.read_region(tile, level, (pixels, pixels))


def read_as_fetch(path: Path, tiles: list[Tile], settings: Slides) -> None:
    """Read the tiles to JPEG bytes, as `fetch` does."""
    with open_slide(path) as slide, ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(partial(read_tile, slide, settings=settings), tiles):
            pass


def seconds(work: Callable[[], None]) -> float:
    """Return the seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(path: Path, mpp: float) -> None:
    """Print a row with the tiles per second of both ways to read."""
    settings = Slides(mpp=mpp, size=448, most=MOST)
    with open_slide(path) as slide:
        start = time.perf_counter()
        tiles = choose_tiles(slide, settings, seed=(1,))
        chosen = time.perf_counter() - start
    bare, ours = [], []
    for _ in range(REPEATS):
        bare.append(seconds(partial(read_bare, path, tiles, settings)))
        ours.append(seconds(partial(read_as_fetch, path, tiles, settings)))
    rates = len(tiles) / min(bare), len(tiles) / min(ours)
    print(
        f"| {mpp:g} | {len(tiles)} | {chosen:.2f} | {rates[0]:.0f} | {rates[1]:.0f} | "
        f"{rates[1] / rates[0]:.2f} |"
    )


def fetch_in_child(folder: Path, out: Path) -> None:
    """Fetch a folder, and print seconds and peak memory of this process."""
    params = load_params()
    slides = params.fetch.slides.model_copy(update={"most": MOST})
    settings = params.fetch.model_copy(update={"source": str(folder), "slides": slides})
    took = seconds(
        lambda: fetch.run(params.model_copy(update={"fetch": settings}), out, workers=WORKERS)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"fetch of two such slides: {took:.1f} s, {peak:.0f} MB at most")


def main() -> None:
    """Print the table, and what `fetch` takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=40_000, help="in pixels (%(default)s)")
    parser.add_argument("--fetch", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fetch:
        fetch_in_child(*options.fetch)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "slides"
        for name in ("a", "b"):
            (folder / name).mkdir(parents=True)
        path = write_slide(folder / "a/slide.svs", options.side)
        (folder / "b/slide.svs").hardlink_to(path)
        print(f"{options.side:,} x {options.side:,} px, {path.stat().st_size / 1e6:.0f} MB\n")
        print("| micrometres per pixel | tiles | s to choose | bare, tiles/s | tiles/s | ratio |")
        print("|---|---|---|---|---|---|")
        for mpp in (0.25, 0.5, 1.0, 2.0):
            measure(path, mpp)
        command = [sys.executable, "-m", "benchmarks.slides", "--fetch", str(folder), temporary]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"\n{done.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    main()
