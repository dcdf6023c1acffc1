"""A source that is copied, and one that stays where it is: `python -m benchmarks.in_place`.

Writes zips of random bytes, which do not pack, to a temporary folder that is deleted afterwards.
For `fetch.copy: false` and `true` in turn: the seconds of `fetch`, the bytes that it writes below
`data`, and the seconds to read all images, as `split` does before it decodes them. DVC hashes what
is written and writes it to its cache once more, which is not counted.
"""

import argparse
import contextlib
import io
import random
import resource
import tempfile
import time
import zipfile
from pathlib import Path

from stages import fetch
from tissue.config.loading import load_params
from tissue.data.raw import find_places, list_originals, open_place, read_manifest, read_original

IMAGE = 2_000_000  # bytes


def make_zips(folder: Path, count: int, size: int) -> None:
    """Write `count` zips of about `size` bytes below `folder`, each with images of two classes."""
    folder.mkdir(parents=True)
    rng = random.Random(1)
    for number in range(count):
        with zipfile.ZipFile(folder / f"part-{number:02}.zip", "w") as archive:
            for image in range(size // IMAGE):
                name = f"class_{image % 2}/{number:02}_{image:04}.jpg"
                archive.writestr(name, rng.randbytes(IMAGE))


def clock() -> tuple[float, float]:
    """Return the seconds of the clock and of the processor."""
    return time.perf_counter(), time.process_time()


def spent(since: tuple[float, float]) -> str:
    """Return the seconds since then, and those of the processor, as text."""
    passed, worked = (now - then for now, then in zip(clock(), since, strict=True))
    return f"{passed:.1f} ({worked:.1f})"


def measure(source: Path, root: Path, *, copy: bool) -> tuple[str, int, str]:
    """Return the seconds of `fetch`, the bytes that it writes, and the seconds to read them."""
    params = load_params()
    settings = params.fetch.model_copy(update={"source": str(source), "copy_images": copy})
    start = clock()
    with contextlib.redirect_stdout(io.StringIO()):
        fetch.run(params.model_copy(update={"fetch": settings}), root)
    fetched = spent(start)
    raw = root / "data/raw"
    written = sum(path.stat().st_size for path in raw.iterdir())
    start = clock()
    manifest = read_manifest(raw)
    places = {name: open_place(path) for name, path in find_places(manifest, raw).items()}
    for one in list_originals(manifest):
        read_original(one, places[one.file])
    return fetched, written, spent(start)


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zips", type=int, default=20, help="number (%(default)s)")
    parser.add_argument("--megabytes", type=int, default=200, help="of each (%(default)s)")
    options = parser.parse_args()
    print("| fetch.copy | fetch, s (processor) | written, MB | read all, s (processor) |")
    print("|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        make_zips(source, options.zips, options.megabytes * 1_000_000)
        for copy in (False, True):
            fetched, written, read = measure(source, Path(folder, str(copy)), copy=copy)
            row = (str(copy).lower(), fetched, f"{written / 1e6:,.1f}", read)
            print(f"| {' | '.join(row)} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"\nAt most {peak} MB of memory")


if __name__ == "__main__":
    main()
