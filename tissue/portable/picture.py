"""From a picture to what the networks see, as operations of ONNX.

The same steps as `tissue.images`: a decoded picture is shrunk to a square by a bicubic filter that
antialiases and centred on its padding; of twice the side, the crops with the most tissue are cut.
The filter of Resize in uint8 gives the pixels of Pillow. Other are those of pictures so large that
Pillow shrinks them by averaging first, and few that round otherwise, by one grey level.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from tissue.common.stains import BRIGHT_SHARE, DARKEST_SLIDE
from tissue.images.quality import TISSUE_DENSITY
from tissue.portable.graph import Graph

INT = TensorProto.INT64
FLOAT = TensorProto.FLOAT
DOUBLE = TensorProto.DOUBLE


class Prepared(NamedTuple):
    """How pictures are prepared; the parameters that `split` keeps in `images.json`.

    Attributes:
        size: side S of the image that a network sees, in pixels.
        crops: how many; 0 for none.
        zoom: their magnification.
    """

    size: int
    crops: int
    zoom: int

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> "Prepared":
        """Return what `images.json` says; see `preparation`."""
        crops = recorded["split.crops"]
        return cls(recorded["image_size"], crops["count"], crops["zoom"])


class Square(NamedTuple):
    """A picture in a square, uint8 (1, 3, side, side), and without its padding."""

    padded: str
    inside: str
    top: str  # rows of padding above, int64 (1,)
    left: str  # columns of padding to the left


def prepare(graph: Graph, picture: str, how: Prepared) -> tuple[str, str, str | None]:
    """Add the preparation of a picture uint8 (H, W, 3).

    Returns:
        Names of the image uint8 (1, 3, S, S), of the share of it that shows tissue, float32 (), and
        of the crops uint8 (C, 3, S, S), or None for no crops.
    """
    planes = graph.op("Unsqueeze", graph.op("Transpose", picture, perm=[2, 0, 1]), [0])
    image = _square(graph, planes, how.size)
    share = graph.op("ReduceMean", _tissue(graph, image.inside), keepdims=0)
    if not how.crops:
        return image.padded, share, None
    larger = _square(graph, planes, how.size * how.zoom)
    return image.padded, share, _crops(graph, larger, how)


def _square(graph: Graph, planes: str, size: int) -> Square:
    sides = graph.op("Shape", planes, start=2)
    longest = graph.op("Cast", graph.op("ReduceMax", sides), to=DOUBLE)
    scale = graph.op("Div", np.float64(size), longest)
    scaled = graph.op("Mul", graph.op("Cast", sides, to=DOUBLE), scale)
    shown = graph.op("Max", graph.op("Cast", graph.op("Round", scaled), to=INT), [1])
    # What lies outside has no weight, as in Pillow.
    inside = graph.op(
        "Resize", planes, None, None, shown, mode="cubic", cubic_coeff_a=-0.5, antialias=1,
        exclude_outside=1, axes=[2, 3],
    )  # fmt: skip
    before = graph.op("Div", graph.op("Sub", [size, size], shown), [2])
    top, left = graph.ops("Split", before, outputs=2, num_outputs=2)
    after = graph.op("Sub", graph.op("Sub", [size, size], shown), before)
    around = graph.op("Concat", before, after, axis=0)
    padded = graph.op("Pad", inside, around, np.uint8(255), [2, 3])
    return Square(padded, inside, top, left)


def _tissue(graph: Graph, image: str) -> str:
    """Return where uint8 (1, 3, H, W) is tissue, as float32 (1, 1, H, W) of 0 and 1."""
    values = graph.op("Cast", image, to=FLOAT)
    level = graph.op("Max", values, np.float32(1))
    pixels = graph.op("Flatten", graph.op("Squeeze", values, [0]), axis=1)
    count = graph.op("Shape", pixels, start=1)
    # The level below or at which 99 % of the pixels are is the last of the brightest 1 %.
    bright = graph.op("Mul", graph.op("Cast", count, to=DOUBLE), np.float64(BRIGHT_SHARE))
    below = graph.op("Cast", graph.op("Ceil", bright), to=INT)
    brightest = graph.op("Add", graph.op("Sub", count, below), [1])
    found, _ = graph.ops("TopK", pixels, brightest, outputs=2, axis=1)
    slide = graph.op("ReduceMin", found, [1])
    slide = graph.op("Reshape", graph.op("Max", slide, np.float32(DARKEST_SLIDE)), [1, 3, 1, 1])
    density = graph.op("ReduceMean", graph.op("Log", graph.op("Div", slide, level)), [1])
    framed = graph.op("Pad", density, [1, 1, 1, 1], None, [2, 3], mode="edge")
    smooth = graph.op("AveragePool", framed, kernel_shape=[3, 3])
    return graph.op("Cast", graph.op("Greater", smooth, np.float32(TISSUE_DENSITY)), to=FLOAT)


def _crops(graph: Graph, larger: Square, how: Prepared) -> str:
    size, zoom = how.size, how.zoom
    apart = graph.op("Reshape", larger.padded, [3, zoom, size, zoom, size])
    tiles = graph.op("Transpose", apart, perm=[1, 3, 0, 2, 4])
    tiles = graph.op("Reshape", tiles, [zoom * zoom, 3, size, size])
    if how.crops == zoom * zoom:
        return tiles
    tissue = _tissue(graph, larger.inside)
    before = graph.op("Concat", larger.top, larger.left, axis=0)
    shown = graph.op("Shape", larger.inside, start=2)
    rest = graph.op("Sub", graph.op("Sub", [size * zoom] * 2, shown), before)
    around = graph.op("Concat", before, rest, axis=0)
    tissue = graph.op("Pad", tissue, around, np.float32(0), [2, 3])
    each = graph.op("Reshape", tissue, [zoom, size, zoom, size])
    shares = graph.op("Reshape", graph.op("ReduceSum", each, [1, 3], keepdims=0), [-1])
    # Of equal ones the first, as the standard says; then in reading order.
    _, most = graph.ops("TopK", shares, [how.crops], outputs=2)
    order, _ = graph.ops("TopK", most, [how.crops], outputs=2, largest=0)
    return graph.op("Gather", tiles, order)


def views(graph: Graph, image: str, count: int) -> list[str]:
    """Return the first `count` dihedral views of (1, 3, S, S); see `dihedral`."""
    turns = [image]
    for _ in range(3):  # counterclockwise: the last column becomes the first row
        swapped = graph.op("Transpose", turns[-1], perm=[0, 1, 3, 2])
        turns.append(_flipped(graph, swapped, axis=2))
    return [turns[k] if k < 4 else _flipped(graph, turns[k - 4], axis=3) for k in range(count)]


def _flipped(graph: Graph, image: str, *, axis: int) -> str:
    return graph.op("Slice", image, [-1], [np.iinfo(np.int64).min], [axis], [-1])
