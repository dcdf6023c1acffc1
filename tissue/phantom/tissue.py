"""The layers of a piece of tissue, and the few ways to draw into them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Field = NDArray[np.floating]
REFERENCE = 448


def smooth_noise(rng: Generator, shape: tuple[int, int], grain: float) -> Field:
    """Return smooth noise, float32 `shape`, mean 0, deviation near 1, `grain` pixels coarse."""
    rows, columns = (max(2, round(n / max(grain, 1.0)) + 1) for n in shape)
    coarse = rng.standard_normal((rows, columns), np.float32)
    if (rows, columns) == shape:
        return coarse
    method = Image.Resampling.BICUBIC if grain > 6 else Image.Resampling.BILINEAR
    image = Image.fromarray(coarse).resize((shape[1], shape[0]), method)
    return np.asarray(image, np.float32)


def texture(rng: Generator, u: Field, v: Field, grains: tuple[float, float]) -> Field:
    """Return value noise looked up at (u, v), float32 0..1, stretched to `grains` along u and v."""
    table = rng.random((128, 128), np.float32).ravel()
    a, b = u * np.float32(1 / grains[0]), v * np.float32(1 / grains[1])
    i, j = np.floor(a), np.floor(b)
    a -= i
    b -= j
    column, row = i.astype(np.int32) & 127, (j.astype(np.int32) & 127) << 7
    right, below = (column + 1) & 127, (row + 128) & 16383
    top = table[row + column] * (1 - a) + table[row + right] * a
    bottom = table[below + column] * (1 - a) + table[below + right] * a
    return top + (bottom - top) * b


NUCLEUS = 0.8  # how far apart nuclei lie, in units of the spacings that architectures give


@dataclass
class Tissue:
    """The layers of a square piece of tissue, float32 (side, side), 0 where the layer is absent."""

    side: int
    unit: float  # picture pixels in a reference pixel
    rng: Generator
    u: Field = field(init=False)
    v: Field = field(init=False)
    epithelium: Field = field(init=False)
    stroma: Field = field(init=False)
    border: Field = field(init=False)  # apical and basal edges of cells
    content: Field = field(init=False)  # secretion, blood, horn
    points: list[NDArray[np.float64]] = field(default_factory=list)  # row, column, weight, lot
    angle: float = 0.0  # of the u axis in the picture, radians

    def __post_init__(self) -> None:
        """Lay out empty layers."""
        shape = (self.side, self.side)
        for name in ("epithelium", "stroma", "border", "content"):
            setattr(self, name, np.zeros(shape, np.float32))
        line = ((np.arange(self.side) - (self.side - 1) / 2) / self.unit).astype(np.float32)
        self.u, self.v = np.meshgrid(line, line)

    def turn(self, angle: float, *, bend: float = 0.0, grain: float = 90.0) -> None:
        """Turn the axes (u, v) by `angle` radians and bend them by `bend` reference pixels."""
        self.angle = angle
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        self.u, self.v = self.u * c + self.v * s, self.v * c - self.u * s
        if bend:
            self.u = self.u + np.float32(bend) * self.noise(grain)
            self.v = self.v + np.float32(bend) * self.noise(grain)

    def noise(self, grain: float) -> Field:
        """Return smooth noise of the layers' shape, `grain` reference pixels coarse."""
        return smooth_noise(self.rng, (self.side, self.side), grain * self.unit)

    def soft(self, inside: Field) -> Field:
        """Return 1 where `inside` (reference pixels) is positive and 0 elsewhere, antialiased."""
        return np.clip(inside * np.float32(self.unit) + np.float32(0.5), 0, 1)

    def disc(self, centre: tuple[float, float], radii: tuple[float, float], wobble: Field) -> Field:
        """Return the reference pixels inside (positive) or outside of a wobbling ellipse."""
        reach = np.hypot((self.u - centre[0]) / radii[0], (self.v - centre[1]) / radii[1])
        return (1 - reach + wobble) * min(radii)

    def clear(self, where: Field) -> None:
        """Take all layers and nuclei away where `where` is 1."""
        keep = 1 - where
        for layer in (self.epithelium, self.stroma, self.border, self.content):
            layer *= keep
        self.thin(where)

    def thin(self, where: Field) -> None:
        """Take away the nuclei sown so far where `where` is above a half."""
        for k, points in enumerate(self.points):
            rows, columns = points[:2].astype(np.int32)
            self.points[k] = points[:, where[rows, columns] < 0.5]

    def sow(
        self, density: Field, *, spacing: float, dark: float = 1.0, spindle: bool = False
    ) -> None:
        """Scatter nuclei, `spacing` reference pixels apart where `density` is 1.

        `spindle` stretches them along the u axis, as the nuclei of fibres are.
        """
        step = NUCLEUS * spacing * self.unit
        count = int(self.side / step) + 1
        grid = (np.indices((count, count)).reshape(2, -1) + 0.5) * step
        spots = grid + self.rng.uniform(-0.5, 0.5, grid.shape) * step
        spots = spots[:, (spots < self.side - 1).all(axis=0) & (spots >= 0).all(axis=0)]
        rows, columns = spots.astype(np.int32)
        lots = self.rng.random((3, rows.size))
        here = lots[0] < density[rows, columns]
        spots, lots = spots[:, here], lots[:, here]
        weight = dark * (0.4 + 0.9 * lots[1])
        if not spindle:
            self.points.append(np.vstack([spots, weight, lots[2]]))
            return
        offset = 0.8 * self.unit * np.array([[np.sin(self.angle)], [np.cos(self.angle)]])
        for side in (-1, 1):
            moved = np.clip(spots + side * offset, 0, self.side - 1.01)
            self.points.append(np.vstack([moved, 0.6 * weight, lots[2]]))

    def nuclei(self, *, sigma: float, marked: float) -> tuple[Field, Field]:
        """Return all sown nuclei, and the share `marked` of them, as two blurred layers."""
        points = np.hstack(self.points)
        everyone = self._splat(points, sigma)
        few = points[:, points[3] < marked]
        return everyone, self._splat(few, 1.15 * sigma)

    def _splat(self, points: NDArray[np.float64], sigma: float) -> Field:
        rows, columns = points[:2].astype(np.int32)
        a, b = points[0] - rows, points[1] - columns
        place, weight = rows * self.side + columns, points[2]
        total = np.zeros(self.side * self.side)
        for shift, share in (
            (0, (1 - a) * (1 - b)),
            (1, (1 - a) * b),
            (self.side, a * (1 - b)),
            (self.side + 1, a * b),
        ):
            total += np.bincount(place + shift, weight * share, total.size)[: total.size]
        width = sigma * self.unit
        layer = gaussian_filter(
            total.reshape(self.side, self.side).astype(np.float32), width, truncate=2.5
        )
        return np.minimum(layer * np.float32(2 * np.pi * width**2 + 1), 1.4)
