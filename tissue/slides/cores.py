"""The cores of a tissue microarray: found on an overview, and put in the order of a grid.

Pieces of tissue no larger than a core give angle and steps of the grid, first by their phases and
then by least squares. Cores that touch are divided by the grid afterwards.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tissue.common.errors import InputError

Points = NDArray[np.float64]  # (N, 2), x and y
CLOSED = 0.08  # of a diameter: gaps in a core that are closed, such as the air in a lung
DUST = 0.02  # of the area of a core: smaller pieces are ignored
WHOLE = 0.6  # of the area: a core with less is torn
PAIR = 1.5  # of the area or the diameter: a larger piece is of several cores
PRESENT = 0.12  # of the area: a core with less tissue is missing
ANGLES = (-12.0, 12.1, 0.25)  # degrees that the array may be turned by: first, end, step
STEPS = (0.95, 3.0, 0.01)  # from a core to the next, in diameters
FEWEST = 6  # separate cores that show a grid
MISFIT = 0.4  # of a step: farther off, a core does not decide where the grid is
FILLED = 0.2  # of the places of an outer row or column that hold a core; else it is debris
FITS = 5  # of the grid, each with the places that the last one gave
NUDGES = 20  # of a circle, to hold a torn core


class Core(NamedTuple):
    """A place of the grid, counted from 0, and its circle in pixels of the overview."""

    row: int
    column: int
    x: float
    y: float
    diameter: float
    tissue: float  # area of its pieces to the usual area; 0: missing


class Grid(NamedTuple):
    """Where the places are: origin + column * across + row * down, each (2,)."""

    origin: Points
    across: Points
    down: Points

    def places(self, points: Points) -> NDArray[np.floating]:
        """Return column and row of points (N, 2), with fractions."""
        return np.linalg.solve(
            np.stack([self.across, self.down], axis=1), (points - self.origin).T
        ).T

    def point(self, column: float, row: float) -> Points:
        """Return the point at a place."""
        return self.origin + column * self.across + row * self.down


class Piece(NamedTuple):
    """A connected piece of tissue: its pixels (N, 2), their mean, and the sides of its box."""

    pixels: Points
    centre: Points
    sides: Points


def find_cores(mask: NDArray[np.bool_]) -> list[Core]:
    """Return all places of the grid of an array, row by row, those of missing cores too.

    Args:
        mask: which pixels of the overview show tissue, bool (H, W).

    Raises:
        InputError: if no grid is seen.
    """
    area, pieces = _find_pieces(mask)
    diameter = float(np.sqrt(4 * area / np.pi))
    single = [one for one in pieces if _is_single(one, area, diameter)]
    if len(single) < FEWEST:
        raise InputError(
            f"expected an array with at least {FEWEST} separate cores. Received: {len(single)} "
            f"among {len(pieces)} pieces of tissue. Name another slide, or write the table by hand."
        )
    centres = np.array([one.centre for one in single])
    weights = np.array([min(len(one.pixels) / area, 1.0) for one in single])
    grid = _fit(centres, weights, _first_grid(centres, weights, diameter))
    parts = _assign(pieces, grid, area, diameter)
    columns, rows = _extent(parts, area)
    cores = []
    for row in range(rows[0], rows[1] + 1):
        for column in range(columns[0], columns[1] + 1):
            pixels = parts.get((column, row), np.zeros((0, 2)))
            x, y, share = _circle(pixels, grid.point(column, row), area, diameter)
            cores.append(Core(row - rows[0], column - columns[0], x, y, diameter, share))
    return cores


def _find_pieces(mask: NDArray[np.bool_]) -> tuple[float, list[Piece]]:
    """Return the usual area of a core, and the pieces that are no dust."""
    area = _usual_area(mask)
    gap = max(1, round(CLOSED * np.sqrt(area)))
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, cross, iterations=gap) > 0
    area = _usual_area(closed)
    labels, _ = ndimage.label(closed)
    pieces = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        pixels = np.argwhere(labels[box] == number)[:, ::-1] + [box[1].start, box[0].start]
        if len(pixels) >= DUST * area:
            sides = np.array([box[1].stop - box[1].start, box[0].stop - box[0].start], float)
            pieces.append(Piece(pixels.astype(float), pixels.mean(axis=0), sides))
    return area, pieces


def _usual_area(mask: NDArray[np.bool_]) -> float:
    """Return the area of the piece in which half of all tissue is reached, smallest first."""
    areas = np.sort(np.bincount(ndimage.label(mask)[0].ravel())[1:])
    if not len(areas):
        raise InputError("expected an array of cores. Received: no tissue. Name another slide.")
    return float(areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)])


def _is_single(piece: Piece, area: float, diameter: float) -> bool:
    share = len(piece.pixels) / area
    return PRESENT < share < PAIR and bool((piece.sides < PAIR * diameter).all())


def _first_grid(centres: Points, weights: NDArray[np.float64], diameter: float) -> Grid:
    """Return the grid whose angle and steps make the places of all cores agree best.

    Along an axis with the right angle and step, all cores have the same phase; their agreement is
    the length of the mean of the phases as unit vectors. No core needs to have a neighbour.
    """
    steps = diameter * np.arange(*STEPS)
    best = (-1.0, 0.0, 0.0, 0.0)
    for angle in np.radians(np.arange(*ANGLES)):
        turned = centres @ _turning(angle)
        # (2, steps, cores)
        phases = np.exp(2j * np.pi * turned.T[:, None] / steps[:, None])
        agreement = np.abs((phases * weights).sum(axis=2)) / weights.sum()
        across, down = agreement.argmax(axis=1)
        found = agreement[0, across] + agreement[1, down]
        best = max(best, (float(found), float(angle), float(steps[across]), float(steps[down])))
    _, angle, *lengths = best
    turned = centres @ _turning(angle)
    phases = np.exp(2j * np.pi * turned / lengths)
    start = np.angle((phases * weights[:, None]).sum(axis=0)) / (2 * np.pi) * lengths
    back = _turning(angle).T
    return Grid(start @ back, back[0] * lengths[0], back[1] * lengths[1])


def _turning(angle: float) -> Points:
    """Return the matrix that turns rows (N, 2), on its right, back by an angle in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _fit(centres: Points, weights: NDArray[np.float64], grid: Grid) -> Grid:
    """Return the grid by least squares, with each core at the nearest place, several times."""
    for _ in range(FITS):
        places = grid.places(centres)
        whole = np.rint(places)
        fits = np.abs(places - whole).max(axis=1) < MISFIT
        by = np.sqrt(weights[fits])[:, None]
        known = np.column_stack([np.ones(len(centres)), whole])[fits]
        if np.linalg.matrix_rank(known) < 3:
            break
        solved, *_ = np.linalg.lstsq(known * by, centres[fits] * by, rcond=None)
        grid = Grid(*solved)
    return grid


def _assign(
    pieces: list[Piece], grid: Grid, area: float, diameter: float
) -> dict[tuple[int, int], Points]:
    """Return the pixels at each place that has some, by column and row."""
    found = dict[tuple[int, int], list[Points]]()
    for piece in pieces:
        is_pair = len(piece.pixels) > PAIR * area or piece.sides.max() > PAIR * diameter
        parts = _divide(piece.pixels, grid, area) if is_pair else [piece.pixels]
        for pixels in parts:
            column, row = np.rint(grid.places(pixels.mean(axis=0)[None])[0]).astype(int)
            found.setdefault((int(column), int(row)), []).append(pixels)
    return {place: np.concatenate(parts) for place, parts in found.items()}


def _divide(pixels: Points, grid: Grid, area: float) -> list[Points]:
    """Return the pixels of cores that touch, each with the nearest place that has enough."""
    nearest = np.rint(grid.places(pixels))
    places, counts = np.unique(nearest, axis=0, return_counts=True)
    kept = places[counts >= min(WHOLE / 2 * area, counts.max())]
    points = np.array([grid.point(*place) for place in kept])
    nearest_kept = ((pixels[:, None] - points[None]) ** 2).sum(axis=2).argmin(axis=1)
    return [pixels[nearest_kept == number] for number in np.unique(nearest_kept)]


def _extent(
    parts: dict[tuple[int, int], Points], area: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the first and last column, and the first and last row, that are of the array."""
    present = np.array([place for place, one in parts.items() if len(one) >= PRESENT * area])
    low, high = present.min(axis=0), present.max(axis=0)
    filled = np.zeros(high - low + 1, bool)
    filled[tuple((present - low).T)] = True
    result = []
    for axis in (0, 1):
        count = filled.sum(axis=1 - axis)
        usual = np.median(count[count > 0])
        used = np.flatnonzero(count > FILLED * usual)
        result.append((int(used[0] + low[axis]), int(used[-1] + low[axis])))
    return result[0], result[1]


def _circle(
    pixels: Points, place: Points, area: float, diameter: float
) -> tuple[float, float, float]:
    """Return the centre of a core and its share of tissue.

    That of a whole core is its mean. A torn one has lost a side, so its circle is that of the grid,
    moved no farther than needed to hold what is left.
    """
    share = len(pixels) / area
    if share < PRESENT:
        return float(place[0]), float(place[1]), 0.0
    centre = pixels.mean(axis=0) if share > WHOLE else place.copy()
    for _ in range(NUDGES if share <= WHOLE else 0):
        away = pixels - centre
        far = np.hypot(*away.T)
        worst = int(far.argmax())
        if far[worst] <= diameter / 2:
            break
        centre = centre + away[worst] * (1 - diameter / 2 / far[worst])
    return float(centre[0]), float(centre[1]), share
