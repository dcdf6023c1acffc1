"""Find copies of the same picture: exact, turned, mirrored, zoomed or re-compressed.

Candidates are nearest neighbours of a small fingerprint, so the work grows with N log N. Each pair
of candidates is then compared by key points and pixels (`tissue.images.keypoints`). A copy shows a
good part of the same tissue, in any orientation and at up to 2.5 times the scale.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from tissue.images.keypoints import KeyPoints, agreement, align_keypoints, find_keypoints

SIDE = 112  # of the picture that is fingerprinted, in pixels
RINGS, ANGLES = 48, 128  # samples of the log-polar map
BANDS, ORDERS = 4, 16  # bands of rings, and orders of the Fourier series along them
COLOUR_WEIGHT = 0.2  # relative to the texture, which has length 1
FINGERPRINT = BANDS * ORDERS + 15  # length; the last 15 values are colour
BLOCK = 8192  # rows processed at once, to limit memory
AXES = 16  # principal axes searched: a tree with more dimensions is no faster than a full search
NEIGHBOURS = 8
MOST_NEIGHBOURS = 128
PATIENCE = 12  # failed comparisons of two clusters before they are no longer compared
MIN_SUPPORT = 5  # key points that must agree before pixels are compared
MIN_AGREEMENT = 0.15  # least correlation of the pixels, however many key points agree


def exact_digest(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256, in hexadecimal, of the size and the pixels of uint8 (H, W, 3)."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def _log_polar_coordinates() -> NDArray[np.float64]:
    middle = (SIDE - 1) / 2
    radius = SIDE / 2 * np.geomspace(0.14, 0.98, RINGS)[:, None]
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    return np.stack([middle + radius * np.sin(angle), middle + radius * np.cos(angle)])


_COORDINATES = _log_polar_coordinates()
_MIDDLE = np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)) < 0.35 * SIDE


def _texture(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 (BANDS * ORDERS,), a vector of length 1, or 0 for a blank picture.

    Magnitudes of the Fourier series along rings about the centre are invariant to rotation and
    reflection. Order 0 is left out, since all round cores share it.
    """
    fine = ndimage.gaussian_filter(grey, 1.0, truncate=2.5)
    fine -= ndimage.uniform_filter(ndimage.uniform_filter(grey, 9), 9)
    # Running sums may be slightly below zero.
    contrast = np.sqrt(np.maximum(ndimage.uniform_filter(fine * fine, 21), 0)) + 3
    rings = ndimage.map_coordinates(fine / contrast, _COORDINATES, order=1)
    power = np.abs(np.fft.rfft(rings, axis=1)[:, 1 : ORDERS + 1]) ** 2
    texture = np.sqrt(power.reshape(BANDS, RINGS // BANDS, ORDERS).sum(1)).ravel()
    length = np.linalg.norm(texture)
    return (texture / max(float(length), 1e-6)).astype(np.float32)


def fingerprint(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 (79,) of RGB uint8 (S, S, 3): texture, then colour, about the centre.

    It changes little when the picture is rotated by any angle or mirrored.
    """
    picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    texture = _texture(np.asarray(picture.convert("L"), np.float32))
    density = -np.log((np.asarray(picture, np.float32)[_MIDDLE] + 1) / 256)
    spread = np.percentile(density, [10, 50, 90], axis=0).ravel()
    return np.concatenate([texture, density.mean(0), density.std(0), spread]).astype(np.float32)


def _search_space(fingerprints: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 (N, <= AXES): the fingerprints along their principal axes, colour weighted."""
    mean = fingerprints.mean(0, dtype=np.float64)
    spread = fingerprints[:, BANDS * ORDERS :].std(0, dtype=np.float64)
    scale = np.ones(FINGERPRINT)
    scale[BANDS * ORDERS :] = COLOUR_WEIGHT / np.sqrt(len(spread)) / np.maximum(spread, 1e-6)

    def blocks() -> Iterator[NDArray[np.float64]]:
        for at in range(0, len(fingerprints), BLOCK):
            yield (fingerprints[at : at + BLOCK] - mean) * scale

    _, axes = np.linalg.eigh(sum(block.T @ block for block in blocks()))
    return np.concatenate([block @ axes[:, ::-1][:, :AXES] for block in blocks()])


def _candidates(tree: cKDTree, rows: NDArray[np.int64], neighbours: int) -> NDArray[np.int64]:
    """Return (P, 2), i < j, sorted: pairs of the rows and their nearest neighbours."""
    neighbours = min(neighbours, tree.n - 1)
    found = []
    for at in range(0, len(rows), BLOCK):
        mine = rows[at : at + BLOCK]
        _, near = tree.query(tree.data[mine], k=neighbours + 1)
        low, high = np.minimum(mine[:, None], near), np.maximum(mine[:, None], near)
        # Each pair as one number, which takes less memory.
        found.append((low * tree.n + high)[low != high])
    pairs = np.unique(np.concatenate(found))
    return np.stack(np.divmod(pairs, tree.n), axis=1)


class Images(Protocol):
    """An array uint8 (N, S, S, 3), or an object that returns its rows."""

    def __getitem__(self, row: int, /) -> NDArray[np.uint8]: ...


class _Clusters:
    """Disjoint sets of rows, in arrays: SciPy's `DisjointSet` takes 500 bytes per row."""

    def __init__(self, count: int) -> None:
        self._parent, self._size = np.arange(count), np.ones(count, np.int64)

    def root(self, row: int) -> int:
        while (parent := int(self._parent[row])) != row:
            self._parent[row] = self._parent[parent]
            row = parent
        return row

    def size(self, root: int) -> int:
        return int(self._size[root])

    def join(self, one: int, other: int) -> None:
        small, large = sorted((one, other), key=self.size)
        self._parent[small] = large
        self._size[large] += self._size[small]


class _Comparison:
    """Compares pairs of rows and joins those that show the same tissue."""

    def __init__(self, images: Images, points: Callable[[int], KeyPoints], count: int) -> None:
        self.images, self.points = images, points
        self.clusters = _Clusters(count)
        self.found: list[tuple[int, int]] = []
        self._failed: Counter[tuple[int, int]] = Counter()

    def _show_same_tissue(self, i: int, j: int) -> bool:
        """Compare two pictures.

        With few key points that agree, pixels must be nearly equal (5 and 0.9); with many, they may
        be blurred and shifted by another zoom (12 and 0.2). Of 5,000 pairs of different drawn
        cores, none had more than 8 key points that agree, with a correlation of 0.53; 98 % of
        copies had 8 or more, and 0.85.
        """
        similarity = align_keypoints(self.points(i), self.points(j))
        if similarity.support < MIN_SUPPORT:
            return False
        correlation = agreement(self.images[i], self.images[j], similarity)
        return correlation >= max(MIN_AGREEMENT, 1.4 - similarity.support / 10)

    def compare(self, i: int, j: int) -> None:
        """Join two rows that show the same tissue, unless that is known of their clusters."""
        one, other = self.clusters.root(i), self.clusters.root(j)
        between = (min(one, other), max(one, other))
        if one == other or self._failed.get(between, 0) >= PATIENCE:
            return
        if self._show_same_tissue(i, j):
            self.clusters.join(one, other)
            self.found.append((i, j))
        elif max(self.clusters.size(one), self.clusters.size(other)) > 1:
            # Two single rows are compared only once, so there is nothing to count.
            self._failed[between] += 1


def near_duplicate_pairs(
    images: Images,
    fingerprints: NDArray[np.float32],
    points: Callable[[int], KeyPoints] | None = None,
    *,
    neighbours: int = NEIGHBOURS,
    progress: bool = False,
) -> NDArray[np.int64]:
    """Return int64 (P, 2), i < j, sorted: the pairs of rows that show the same tissue.

    Rows that other pairs already join are not compared, so a cluster of n images has n - 1 pairs.
    An image with about as many copies as neighbours may have more copies, so the search is repeated
    for it with four times as many neighbours.

    Args:
        images: uint8 (N, S, S, 3), read one at a time.
        fingerprints: float32 (N, D), by `fingerprint`.
        points: returns the key points of a row; by default they are found here.
        neighbours: nearest neighbours that are candidates in the first search.
        progress: whether to show a progress bar.
    """
    count = len(fingerprints)
    if count < 2:
        return np.empty((0, 2), np.int64)
    tree = cKDTree(_search_space(fingerprints))
    points = points or cache(lambda row: find_keypoints(images[row]))
    comparison = _Comparison(images, points, count)
    rows = np.arange(count)
    while len(rows) and neighbours <= MOST_NEIGHBOURS:
        pairs = _candidates(tree, rows, neighbours)
        for pair in tqdm(pairs, "near duplicates", unit="pair", disable=None if progress else True):
            comparison.compare(int(pair[0]), int(pair[1]))
        clusters = comparison.clusters
        size = np.array([clusters.size(clusters.root(row)) for row in range(count)])
        rows = np.flatnonzero(size > neighbours / 2)
        neighbours *= 4
    return np.array(sorted(comparison.found), np.int64).reshape(-1, 2)


def join_pairs(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 (count,): the cluster of each row, numbered by first appearance."""
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, label = connected_components(links, directed=False)
    return pd.factorize(label)[0]
