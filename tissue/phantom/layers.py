"""The layers of a piece of tissue, and the ways to draw into them.

An organ is drawn by a function of a `Tissue` and of the random generator of the donor. It is listed
in `core.ARCHITECTURES`. A minimal one:

    def fat(tissue: Tissue, donor: Generator) -> None:
        width = donor.uniform(18, 28)  # the same for all cores of a donor
        tissue.turn_axes()
        cells = voronoi(tissue, spacing=(width, width))  # of structures.py
        wall = tissue.mask(0.9 - cells.edge)
        tissue.epithelium += 0.7 * wall
        tissue.add_nuclei(0.6 * wall, spacing=5)

Shapes are signed distances, positive inside. `Tissue.mask` turns them into masks, which are added
to the layers. Lengths are in reference pixels: the picture of a core is REFERENCE wide at any size,
and a core reaches to about 190 from its centre. The pictures depend on the order of the random
draws: another order gives other data.
"""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Field = NDArray[np.floating]  # one value per pixel
REFERENCE = 448  # reference pixels across a picture
CROWDING = 0.8  # distance between nuclei, as a share of the spacing given to `add_nuclei`
NUCLEUS = 0.75  # standard deviation of a nucleus, reference pixels
TABLE = 256  # side of the periodic tables of noise, a power of two
WAVE = 4.71  # mean wavelength that the difference of Gaussians passes, in deviations of the finer


def smooth_noise(rng: Generator, shape: tuple[int, int], grain: float) -> Field:
    """Return smooth noise, float32 `shape`, mean 0, deviation near 1, `grain` pixels coarse."""
    rows, columns = (max(2, round(n / max(grain, 1.0)) + 1) for n in shape)
    coarse = rng.standard_normal((rows, columns), np.float32)
    method = Image.Resampling.BICUBIC if grain > 6 else Image.Resampling.BILINEAR
    image = Image.fromarray(coarse).resize((shape[1], shape[0]), method)
    return np.asarray(image, np.float32)


def rotate(x: Field, y: Field, angle: float) -> tuple[Field, Field]:
    """Return the coordinates along and across an axis at `angle` radians from the x axis."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def _look_up(table: Field, a: Field, b: Field) -> Field:
    """Return the values of a periodic table at column `a` and row `b`, bilinear."""
    i, j = np.floor(a), np.floor(b)
    a, b = a - i, b - j
    last = TABLE - 1
    column, row = i.astype(np.int32) & last, (j.astype(np.int32) & last) * TABLE
    right, below = (column + 1) & last, (row + TABLE) & (TABLE * TABLE - 1)
    flat = table.ravel()
    top = flat[row + column] * (1 - a) + flat[row + right] * a
    bottom = flat[below + column] * (1 - a) + flat[below + right] * a
    return (top + (bottom - top) * b).astype(np.float32)


class Tissue:
    """A square piece of tissue: its layers, its nuclei and its axes.

    Attributes:
        side: of the square, in pixels of the picture.
        unit: pixels of the picture per reference pixel.
        rng: generator of this core; what the cores of a donor share is drawn from the donor's.
        x, y: coordinates of the pixels in the picture, reference pixels from the centre.
        u, v: coordinates along the axes of the tissue. In an organ with a surface, u runs along the
            surface and v into the depth.
        epithelium, stroma: amount of tissue, mostly 0 to 1, float32 (side, side), as all layers.
        border: apical and basal edges of cells.
        content: secretion, blood, horn.
    """

    def __init__(self, side: int, unit: float, rng: Generator) -> None:
        self.side, self.unit, self.rng = side, unit, rng
        line = ((np.arange(side) - (side - 1) / 2) / unit).astype(np.float32)
        self.x, self.y = np.meshgrid(line, line)
        self.u, self.v = self.x, self.y
        layers = np.zeros((4, side, side), np.float32)
        self.epithelium, self.stroma, self.border, self.content = layers
        self._angle = 0.0  # of the u axis in the picture, radians
        self._nuclei: list[NDArray[np.float64]] = []  # rows: row, column, weight, lot (0 to 1)

    def turn_axes(self, *, bend: float = 0.0, grain: float = 90.0) -> None:
        """Turn u and v in a random direction, and bend them by noise of deviation `bend`."""
        self._angle = self.rng.uniform(0, 2 * np.pi)
        self.u, self.v = rotate(self.x, self.y, self._angle)
        if bend:
            self.u = self.u + bend * self.noise(grain)
            self.v = self.v + bend * self.noise(grain)

    def noise(self, grain: float) -> Field:
        """Return smooth noise, mean 0, deviation near 1, `grain` reference pixels coarse."""
        return smooth_noise(self.rng, (self.side, self.side), grain * self.unit)

    def fibres(self, length: float, width: float, *, v: Field | None = None) -> Field:
        """Return value noise from 0 to 1, stretched along u to fibres; `v` replaces that axis."""
        table = self.rng.random((TABLE, TABLE), np.float32)
        return _look_up(table, self.u / length, (self.v if v is None else v) / width)

    def labyrinth(self, spacing: float, *, stretch: float = 1.0) -> Field:
        """Return winding stripes, mean 0, deviation 1, about `spacing` reference pixels apart.

        `stretch` draws them out along u. It is white noise with one wavelength left in it, the
        difference of two Gaussian filters.
        """
        table = self.rng.standard_normal((TABLE, TABLE), np.float32)
        fine, coarse = (gaussian_filter(table, s, mode="wrap", truncate=3) for s in (1.2, 1.92))
        stripes = fine - coarse
        scale = 1.2 * WAVE / spacing
        return _look_up(stripes / stripes.std(), self.u * (scale / stretch), self.v * scale)

    def mask(self, inside: Field) -> Field:
        """Return 1 where the signed distance `inside` is positive, 0 elsewhere, antialiased."""
        return np.clip(inside * np.float32(self.unit) + np.float32(0.5), 0, 1)

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], wobble: Field
    ) -> Field:
        """Return the signed distance to an ellipse; centre and radii are given along u and v."""
        reach = np.hypot((self.u - centre[0]) / radii[0], (self.v - centre[1]) / radii[1])
        return (1 - reach + wobble) * min(radii)

    def carve(self, inside: Field) -> Field:
        """Clear the tissue where the signed distance `inside` is positive; return the mask."""
        mask = self.mask(inside)
        self.clear(mask)
        return mask

    def clear(self, mask: Field) -> None:
        """Remove all layers and nuclei where `mask` is 1."""
        keep = 1 - mask
        for layer in (self.epithelium, self.stroma, self.border, self.content):
            layer *= keep
        self.clear_nuclei(mask)

    def clear_nuclei(self, mask: Field) -> None:
        """Remove the nuclei added so far where `mask` is at least a half."""
        for k, nuclei in enumerate(self._nuclei):
            rows, columns = nuclei[:2].astype(np.int32)
            self._nuclei[k] = nuclei[:, mask[rows, columns] < 0.5]

    def add_nuclei(
        self, density: Field, *, spacing: float, dark: float = 1.0, spindle: bool = False
    ) -> None:
        """Scatter nuclei, about `spacing` reference pixels apart where `density` is 1.

        `spindle` stretches them along u, as in fibres.
        """
        step = CROWDING * spacing * self.unit
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
            self._nuclei.append(np.vstack([spots, weight, lots[2]]))
            return
        offset = 0.8 * self.unit * np.array([[np.sin(self._angle)], [np.cos(self._angle)]])
        for side in (-1, 1):
            moved = np.clip(spots + side * offset, 0, self.side - 1.01)
            self._nuclei.append(np.vstack([moved, 0.6 * weight, lots[2]]))

    def draw_nuclei(self, *, marked: float) -> tuple[Field, Field]:
        """Return all nuclei, and the share `marked` of them, as two blurred layers."""
        nuclei = np.hstack(self._nuclei)
        some = nuclei[:, nuclei[3] < marked]
        return self._blur(nuclei, NUCLEUS), self._blur(some, 1.15 * NUCLEUS)

    def _blur(self, nuclei: NDArray[np.float64], sigma: float) -> Field:
        rows, columns = nuclei[:2].astype(np.int32)
        a, b = nuclei[0] - rows, nuclei[1] - columns
        pixel, weight = rows * self.side + columns, nuclei[2]
        total = np.zeros(self.side * self.side)
        for down, row_share in enumerate((1 - a, a)):
            for right, column_share in enumerate((1 - b, b)):
                shifted, share = pixel + down * self.side + right, row_share * column_share
                total += np.bincount(shifted, weight * share, total.size)
        width = sigma * self.unit
        points = total.reshape(self.side, self.side).astype(np.float32)
        layer = gaussian_filter(points, width, truncate=2.5)
        return np.minimum(layer * np.float32(2 * np.pi * width**2 + 1), 1.4)
