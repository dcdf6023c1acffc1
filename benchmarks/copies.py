"""Recall and precision of the search for copies: `python -m benchmarks.copies`.

Pictures are drawn cores, of another seed than the default data, or those of a zip. A share of them
gets one copy or several, each of which is rotated by any angle, perhaps mirrored, zoomed by 0.5 to
2 off centre, made brighter or darker, restained, perhaps blurred, and compressed as JPEG at quality
30 to 95. The others have no copy. All are searched as `split` searches them.

Prints, for each number of copies: the share of pairs of copies that end in one cluster (recall),
pairs in one cluster that are no copies (false), the adjusted Rand index, and the processor time for
an image, of key points and of the search. `--table` takes the truth from a CSV (path, group) and
makes no copies. `--edit` makes copies by one change at a time.

Expected: recall of 0.98 or more, hardly a false pair, less than 40 ms for an image; see
benchmarks/results/copies.md.
"""

import argparse
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import pair_confusion_matrix

from tissue.common.stains import draw_stain_factors, empty_slide, scale_stains
from tissue.images.duplicates import join_pairs, near_duplicate_pairs
from tissue.images.keypoints import KeyPoints, find_keypoints
from tissue.phantom.core import draw_core
from tissue.phantom.plan import plan_cores

SIDE = 224  # in pixels, of the pictures that are searched
DRAWN = 448  # in pixels, before copies are made
SEED = 2024
Rng = np.random.Generator


def rotated(picture: Image.Image, rng: Rng) -> Image.Image:
    """Rotate by any angle; mirror half of the pictures."""
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = rng.uniform(0, 360)
    return picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(243, 243, 243))


def zoomed(picture: Image.Image, rng: Rng) -> Image.Image:
    """Cut out a part, or shrink onto empty glass, off centre, by a factor of 0.5 to 2."""
    zoom, side = np.exp(rng.uniform(np.log(0.5), np.log(2))), picture.width
    part = round(side / zoom) if zoom > 1 else round(side * zoom)
    x, y = (int(at) for at in rng.integers(0, side - part + 1, 2))
    if zoom > 1:
        cut = picture.crop((x, y, x + part, y + part))
        return cut.resize((side, side), Image.Resampling.LANCZOS)
    glass = Image.new("RGB", (side, side), (243, 243, 243))
    glass.paste(picture.resize((part, part), Image.Resampling.LANCZOS), (x, y))
    return glass


def recoloured(picture: Image.Image, rng: Rng) -> Image.Image:
    """Change the brightness by up to a fifth, and both stains."""
    bright = np.asarray(ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.2)))
    factors = draw_stain_factors(rng, 0.3)
    return Image.fromarray(scale_stains(bright, factors, empty_slide(bright)))


def blurred(picture: Image.Image, rng: Rng) -> Image.Image:
    """Blur by 0.3 to 1.2 pixels."""
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))


def compressed(picture: Image.Image, rng: Rng) -> Image.Image:
    """Compress as JPEG at quality 30 to 95."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=int(rng.integers(30, 96)))
    return Image.open(content).convert("RGB")


EDITS = {edit.__name__: edit for edit in (rotated, zoomed, recoloured, blurred, compressed)}


def copied(picture: Image.Image, rng: Rng) -> Image.Image:
    """Return a copy with all changes; blur in three of ten."""
    for name, edit in EDITS.items():
        if name != "blurred" or rng.random() < 0.3:
            picture = edit(picture, rng)
    return picture


def drawn_pictures(count: int, seed: int) -> Iterator[Image.Image]:
    """Draw `count` cores in a random order of classes."""
    plan = plan_cores(train_per_class=-(-count // 12), test_per_class=0, size=DRAWN, seed=seed)
    for at in np.random.default_rng(seed).permutation(len(plan))[:count]:
        yield Image.fromarray(draw_core(plan[at]))


def zipped_pictures(path: Path, names: list[str]) -> Iterator[Image.Image]:
    """Return pictures of a zip, centred on white squares."""
    with zipfile.ZipFile(path) as archive:
        for name in names:
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            side = max(picture.size)
            square = Image.new("RGB", (side, side), (255, 255, 255))
            square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            yield square


def with_copies(
    pictures: Iterator[Image.Image],
    copies: int,
    share: float,
    edit: Callable[[Image.Image, Rng], Image.Image],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return uint8 (N, SIDE, SIDE, 3) in random order, and the picture that each shows, (N,)."""
    rng = np.random.default_rng(SEED)
    images, truth = [], []
    for number, picture in enumerate(pictures):
        shown = [picture]
        if rng.random() < share:
            shown += [edit(picture, rng) for _ in range(copies)]
        images += [np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in shown]
        truth += [number] * len(shown)
    order = rng.permutation(len(images))
    return np.stack(images)[order], np.array(truth)[order]


def measure(images: NDArray[np.uint8], truth: NDArray[np.int64]) -> dict[str, float | int]:
    """Search for copies and compare the clusters with the truth."""
    start = time.process_time()
    points: list[KeyPoints] = [find_keypoints(image) for image in images]
    found = time.process_time()
    pairs = near_duplicate_pairs(images, points.__getitem__)
    end = time.process_time()
    label = join_pairs(len(images), pairs)
    (_, false), (missed, right) = pair_confusion_matrix(truth, label) // 2
    return {
        "images": len(images),
        "pairs": int(right + missed),
        "recall": right / max(right + missed, 1),
        "false": int(false),
        "ARI": adjusted_rand_score(truth, label),
        "key points, ms": (found - start) / len(images) * 1e3,
        "search, ms": (end - found) / len(images) * 1e3,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=400, help="pictures that are drawn")
    parser.add_argument("--zip", type=Path, help="of pictures, instead of drawn ones")
    parser.add_argument("--table", type=Path, help="CSV with path and group, of copies in the zip")
    parser.add_argument("--copies", type=int, nargs="*", default=[1, 4], help="of a picture")
    parser.add_argument("--share", type=float, default=0.5, help="of pictures that have copies")
    parser.add_argument("--edit", nargs="*", choices=EDITS, help="only these, one at a time")
    parser.add_argument("--seed", type=int, default=SEED, help="of the drawn cores")
    options = parser.parse_args()
    table = pd.DataFrame(columns=["path", "group"])
    if options.table:
        table = pd.read_csv(options.table, dtype=str).sort_values("path", ignore_index=True)
    names = table["path"].tolist()
    if options.zip and not names:
        with zipfile.ZipFile(options.zip) as archive:
            suffixes = (".jpg", ".jpeg", ".png")
            names = sorted(n for n in archive.namelist() if n.lower().endswith(suffixes))

    def pictures() -> Iterator[Image.Image]:
        if options.zip:
            return zipped_pictures(options.zip, names)
        return drawn_pictures(options.images, options.seed)

    rows = []
    if options.table:
        images = np.stack([np.asarray(one.resize((SIDE, SIDE))) for one in pictures()])
        rows.append({"copies": "as in the table"} | measure(images, table["group"].factorize()[0]))
    else:
        edits = {name: EDITS[name] for name in options.edit or []} or {"all changes": copied}
        for name, edit in edits.items():
            for copies in options.copies:
                found = measure(*with_copies(pictures(), copies, options.share, edit))
                rows.append({"copies": f"{copies}, {name}"} | found)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
