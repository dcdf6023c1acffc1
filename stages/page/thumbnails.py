"""Small pictures for the page, as text: WebP in base64."""

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from stages.errors.table import HEAT_SIDE

# Pixels of all thumbnails together; tissue takes about 0.3 bytes a pixel.
PIXEL_BUDGET = 16_000_000
SIDES = (96, 80, 64, 48, 32)
HEAT_COLOURS = colormaps["inferno"]


def thumbnail_side(images: int) -> int:
    """The largest side, in pixels, at which so many thumbnails keep within the budget."""
    fitting = [side for side in SIDES if images * side**2 <= PIXEL_BUDGET]
    return fitting[0] if fitting else SIDES[-1]


def thumbnail(image: NDArray[np.uint8], side: int) -> str:
    """An image uint8 (S, S, 3) at `side` pixels."""
    small = Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.LANCZOS)
    return _webp(small, quality=70, method=4)


def heat_layer(heat: NDArray[np.uint8]) -> str:
    """A Grad-CAM map uint8 (h, w) as a layer to lay over its image: clear where it is cold."""
    small = Image.fromarray(np.asarray(heat))
    if max(small.size) > HEAT_SIDE:
        small = small.resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BOX)
    warmth = np.asarray(small, np.float32) / 255
    layer = HEAT_COLOURS(warmth, bytes=True)
    layer[..., 3] = np.round(255 * 0.75 * warmth).astype(np.uint8)
    return _webp(Image.fromarray(layer), quality=60, method=4)


def _webp(image: Image.Image, *, quality: int, method: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=method)
    return base64.b64encode(buffer.getvalue()).decode()
