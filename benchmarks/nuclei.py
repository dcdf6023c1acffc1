"""How well the scale of a picture can be told from its nuclei: `python -m benchmarks.nuclei`.

Draws 24 cores of the phantom, two of each class, of 448 and 224 pixels, so that one has twice the
micrometres per pixel of the other; with `--cores`, also reads whole cores of one millimetre, as
they are and shrunk by 2 and 4. In the middle of each, the diameter of nuclei in pixels is taken
from the haematoxylin by two methods: (a) the median of the blobs above Otsu's threshold, (b) twice
the distance at which the autocorrelation falls to a half. The scale is then told by a nucleus of a
fixed diameter, the one that fits all these pictures best, which no user has. Prints by what factor
the scale is wrong. About half a minute on two cores.
"""

import argparse
import glob
from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tissue.common.stains import DENSITY_TO_STAIN, slide_levels
from tissue.config.command import command
from tissue.phantom.core import draw_core
from tissue.phantom.plan import plan_cores
from tissue.slides.tiles import tissue_mask

CORE = 1000.0  # micrometres, the diameter of a core of the atlas
SHOWN = 600  # pixels of the middle that are looked at
REACH = 64  # pixels over which the autocorrelation is followed
LEAST = 3  # pixels of the diameter of a blob


def threshold(amount: NDArray[np.float32]) -> float:
    """Return the median diameter of the blobs of stain (H, W) above Otsu's threshold."""
    levels = ((amount - amount.min()) * (255 / np.ptp(amount))).astype(np.uint8)
    _, above = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    labels, count = ndimage.label(ndimage.binary_opening(above))
    areas = ndimage.sum(above, labels, np.arange(1, count + 1))
    diameters = 2 * np.sqrt(areas / np.pi)
    return float(np.median(diameters[diameters > LEAST])) if (diameters > LEAST).any() else np.nan


def correlation(amount: NDArray[np.float32]) -> float:
    """Return twice the distance at which stain (H, W) is half as much like itself."""
    detail = amount - ndimage.gaussian_filter(amount, REACH / 3)
    power = np.abs(np.fft.rfft2(detail - detail.mean())) ** 2
    alike = np.fft.irfft2(power, amount.shape)
    profile = (alike[0, :REACH] + alike[:REACH, 0]) / (2 * alike[0, 0])
    first = int(np.argmax(profile < 0.5))
    return 2 * (first - 1 + (profile[first - 1] - 0.5) / (profile[first - 1] - profile[first]))


def drawn() -> Iterator[tuple[Image.Image, float]]:
    """Yield drawn cores and their scale, in units of the first."""
    for core in plan_cores(train_per_class=2, test_per_class=0, size=448, seed=3):
        picture = Image.fromarray(draw_core(core))
        yield from ((picture.resize((448 // by,) * 2, Image.Resampling.BOX), by) for by in (1, 2))


def real(pattern: str) -> Iterator[tuple[Image.Image, float]]:
    """Yield whole cores and their micrometres per pixel, from the diameter of their tissue."""
    for name in sorted(glob.glob(pattern)):  # noqa: PTH207  it may be absolute
        with Image.open(name) as image:
            core = image.convert("RGB")
        small = np.asarray(core.resize((300, 300), Image.Resampling.BOX))
        mask = ndimage.binary_opening(tissue_mask(small), iterations=3)
        spans = [np.ptp(np.flatnonzero(mask.any(axis=axis))) for axis in (0, 1)]
        scale = CORE / float(np.mean(spans) * core.width / 300)
        for by in (1, 2, 4):
            size = (core.width // by, core.height // by)
            yield core.resize(size, Image.Resampling.BOX), scale * by


def measure(pictures: Iterator[tuple[Image.Image, float]]) -> pd.DataFrame:
    """Return for both methods the nucleus that fits best and the factors by which scales err."""
    rows = []
    for picture, scale in pictures:
        left, top = (max(0, (side - SHOWN) // 2) for side in picture.size)
        part = np.asarray(picture.crop((left, top, picture.width - left, picture.height - top)))
        smooth = ndimage.gaussian_filter(part.astype(np.float32), (1, 1, 0))
        density = np.log(slide_levels(np.asarray(picture)) / np.maximum(smooth, 1))
        amount = (density @ DENSITY_TO_STAIN)[..., 0]
        rows += [(how.__name__, scale, how(amount)) for how in (threshold, correlation)]
    table = pd.DataFrame(rows, columns=["method", "scale", "pixels"]).dropna()
    table["size"] = np.log(table["scale"] * table["pixels"])
    fitted = table.groupby("method")["size"].transform("mean")
    table["factor"] = np.exp(np.abs(table["size"] - fitted))
    found = table.groupby("method").agg(
        n=("factor", "size"), nucleus=("size", "mean"), median=("factor", "median"),
        worst=("factor", "max"),
    )  # fmt: skip
    return found.assign(nucleus=np.exp(found["nucleus"]))


def main() -> None:
    """Print a table for the drawn cores, and one for real ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", metavar="PATTERN", help="whole cores, such as '../cores/*.jpg'")
    options = parser.parse_args()
    print(f"drawn\n{measure(drawn()).round(2)}")
    if options.cores:
        print(f"\nreal\n{measure(real(options.cores)).round(2)}")


if __name__ == "__main__":
    with command("nuclei"):
        main()
