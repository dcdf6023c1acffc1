"""Does `predict` refuse pictures that show no tissue? `python -m benchmarks.refusal [name=source]`.

Draws pictures of noise, colour gradients, pages of text, single colours and empty slides, 20 of
each. Has the pretrained model of `data/models` classify them and the given folders or archives, and
prints how many of each are refused. Half a minute on two cores. `benchmarks.novelty` asks about
organs that no class holds, `benchmarks.drawings` about real organs.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tissue.commands import predict
from tissue.config.loading import load_params

COUNT = 20
SIDE = 448
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "at", "histology")
Draw = Callable[[np.random.Generator], Image.Image]


def noise(rng: np.random.Generator) -> Image.Image:
    """Draw independent pixels, in colour or grey, or clouds of them."""
    channels = rng.choice([1, 3])
    levels = rng.integers(0, 256, (SIDE, SIDE, channels), dtype=np.uint8)
    image = Image.fromarray(np.repeat(levels, 3 // channels, axis=2))
    if rng.random() < 0.5:
        return image
    cloud = np.asarray(image.filter(ImageFilter.GaussianBlur(4)), np.float64)
    return _picture((cloud - cloud.mean()) * 6 + 128)


def gradient(rng: np.random.Generator) -> Image.Image:
    """Draw four colours that run into each other, or a landscape: sky over hills."""
    x, y = (axis[..., None] for axis in np.meshgrid(*[np.linspace(0, 1, SIDE)] * 2))
    corners = rng.uniform(0, 255, (4, 3))
    sky = (corners[0] * (1 - x) + corners[1] * x) * (1 - y)
    image = sky + (corners[2] * (1 - x) + corners[3] * x) * y
    if rng.random() < 0.5:
        hills = 0.5 + 0.15 * np.sin(6 * x + rng.uniform(0, 6)) + 0.05 * np.sin(23 * x)
        image = np.where(y > hills, [70, 110, 50], image) + rng.normal(0, 4, image.shape)
    return _picture(image)


def text(rng: np.random.Generator) -> Image.Image:
    """Draw a page of dark words."""
    page = Image.new("RGB", (600, int(rng.integers(600, 1000))), "white")
    draw, step = ImageDraw.Draw(page), int(rng.integers(14, 20))
    for line in range(20, page.height - 20, step):
        draw.text((20, line), " ".join(rng.choice(WORDS, 14)), fill=(int(rng.integers(90)),) * 3)
    return page


def blank(rng: np.random.Generator) -> Image.Image:
    """Draw one colour: white to black."""
    return Image.new("RGB", (SIDE, SIDE), (int(rng.integers(256)),) * 3)


def white(rng: np.random.Generator) -> Image.Image:
    """Draw an empty slide: white with a little noise."""
    return _picture(rng.normal(rng.uniform(225, 255), 2, (SIDE, SIDE, 3)))


def _picture(levels: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


KINDS: tuple[Draw, ...] = (noise, gradient, text, blank, white)


def draw_all(folder: Path) -> dict[str, Path]:
    """Write the drawn pictures to a folder; return a source for each kind."""
    sources = {}
    rng = np.random.default_rng(0)
    for draw in KINDS:
        kind = folder / draw.__name__
        kind.mkdir()
        for number in range(COUNT):
            draw(rng).save(kind / f"{number:02d}.png")
        sources[draw.__name__] = kind
    return sources


def main() -> None:
    """Print the table."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        sources = draw_all(Path(folder)) | {name: Path(path) for name, path in given.items()}
        results = []
        for name, source in sources.items():
            with contextlib.redirect_stdout(io.StringIO()):
                batches = predict.run(load_params(), [str(source)], model="pretrained")
                rows = pd.DataFrame([row for batch in batches for row in batch])
            refused = int((rows["refused"] != "").sum())
            distance = rows["distance"].quantile([0, 0.5, 1]).round(2).tolist()
            results.append([name, len(rows), refused, *distance])
    columns = ["pictures", "number", "refused", "nearest", "median distance", "farthest"]
    print(pd.DataFrame(results, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
