"""Find copies of the same picture: exact ones, and turned, mirrored, zoomed or re-compressed ones.

Candidates are nearest neighbours of a small fingerprint, so that the work grows with the number
of images times its logarithm; each candidate is then confirmed on the two pictures themselves
(`tissue.images.keypoints`). A copy has to show a good part of the same tissue, in any
orientation and at up to 2.5 times the scale.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from tissue.images.keypoints import KeyPoints, agreement, align_keypoints, find_keypoints

SIDE = 112  # pixels a side of the picture that is fingerprinted
RINGS, ANGLES = 48, 128  # samples of the log-polar map
BANDS, ORDERS = 4, 16  # bands of rings, and orders of the Fourier series round them
COLOUR_WEIGHT = 0.2  # against the texture, whose fingerprint has length 1
FINGERPRINT = BANDS * ORDERS + 15  # numbers; 15 are of colour
BLOCK = 8192  # rows that are in memory at once in several forms
AXES = 16  # principal axes searched: a tree of more dimensions is no faster than a full search
NEIGHBOURS = 8
MOST_NEIGHBOURS = 128
PATIENCE = 12  # refusals between two clusters before no more of their pairs are compared
MIN_SUPPORT = 5  # key points that have to agree before the pixels are compared
MIN_AGREEMENT = 0.15  # correlation of the pixels, however many key points agree


def exact_digest(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256, in hexadecimal, of the size and the pixels of uint8 (H, W, 3)."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def _log_polar_places() -> NDArray[np.float64]:
    middle = (SIDE - 1) / 2
    radius = SIDE / 2 * np.geomspace(0.14, 0.98, RINGS)[:, None]
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    return np.stack([middle + radius * np.sin(angle), middle + radius * np.cos(angle)])


_PLACES = _log_polar_places()
_MIDDLE = np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)) < 0.35 * SIDE


def _texture(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 (BANDS * ORDERS,) of length 1, or 0 where nothing is to be seen.

    Magnitudes of the Fourier series round each ring about the centre change neither with a
    rotation nor with a reflection; the order 0, which every round core shares, is left out.
    """
    fine = ndimage.gaussian_filter(grey, 1.0, truncate=2.5)
    fine -= ndimage.uniform_filter(ndimage.uniform_filter(grey, 9), 9)
    # Running sums may end a hair below zero.
    contrast = np.sqrt(np.maximum(ndimage.uniform_filter(fine * fine, 21), 0)) + 3
    rings = ndimage.map_coordinates(fine / contrast, _PLACES, order=1)
    power = np.abs(np.fft.rfft(rings, axis=1)[:, 1 : ORDERS + 1]) ** 2
    texture = np.sqrt(power.reshape(BANDS, RINGS // BANDS, ORDERS).sum(1)).ravel()
    length = np.linalg.norm(texture)
    return (texture / max(float(length), 1e-6)).astype(np.float32)


def fingerprint(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 (79,) of RGB uint8 (S, S, 3): texture, then colour, about the centre.

    Turning or mirroring the picture changes it little, whatever the angle.
    """
    picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    texture = _texture(np.asarray(picture.convert("L"), np.float32))
    density = -np.log((np.asarray(picture, np.float32)[_MIDDLE] + 1) / 256)
    spread = np.percentile(density, [10, 50, 90], axis=0).ravel()
    return np.concatenate([texture, density.mean(0), density.std(0), spread]).astype(np.float32)


def _search_space(fingerprints: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 (N, <= AXES): the fingerprints along their principal axes, colour scaled."""
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
    """Return (P, 2), i < j, sorted: the rows and their nearest neighbours."""
    neighbours = min(neighbours, tree.n - 1)
    found = []
    for at in range(0, len(rows), BLOCK):
        mine = rows[at : at + BLOCK]
        _, near = tree.query(tree.data[mine], k=neighbours + 1)
        low, high = np.minimum(mine[:, None], near), np.maximum(mine[:, None], near)
        # As one number, which takes less memory.
        found.append((low * tree.n + high)[low != high])
    pairs = np.unique(np.concatenate(found))
    return np.stack(np.divmod(pairs, tree.n), axis=1)


def same_tissue(support: int, correlation: float) -> bool:
    """Say whether two pictures show the same tissue, from key points that agree and from pixels.

    Few key points need nearly equal pixels (5 and 0.9), many allow the blur and the shift of
    another zoom (12 and 0.2). On drawn cores, of 5,000 candidate pairs that differ, at most 8
    key points agreed, with pixels at 0.53; copies had 8 or more (98 % of them), and 0.85.
    """
    return support >= MIN_SUPPORT and correlation >= max(MIN_AGREEMENT, 1.4 - support / 10)


class Images(Protocol):
    """An array uint8 (N, S, S, 3), or what gives its rows like one."""

    def __getitem__(self, row: int, /) -> NDArray[np.uint8]:
        """Return one image, uint8 (S, S, 3)."""
        ...


class KeyPointsOf(Protocol):
    """The key points of the rows of an array of images."""

    def __getitem__(self, row: int, /) -> KeyPoints:
        """Return those of one image."""
        ...


class FoundKeyPoints:
    """Key points that are looked for when they are first asked for, and kept."""

    def __init__(self, images: Images) -> None:
        """Take images, uint8 (N, S, S, 3)."""
        self._images, self._points = images, dict[int, KeyPoints]()

    def __getitem__(self, row: int) -> KeyPoints:
        """Return those of one image."""
        if row not in self._points:
            self._points[row] = find_keypoints(np.asarray(self._images[row]))
        return self._points[row]


class _Clusters:
    """Rows joined to clusters, in arrays: SciPy's `DisjointSet` takes 500 bytes a row."""

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
    """What is known of the rows while pairs of them are compared."""

    def __init__(self, images: Images, points: KeyPointsOf, count: int) -> None:
        self.images, self.points = images, points
        self.clusters = _Clusters(count)
        self.found: list[tuple[int, int]] = []
        self._refused: Counter[tuple[int, int]] = Counter()

    def _alike(self, i: int, j: int) -> bool:
        similarity = align_keypoints(self.points[i], self.points[j])
        if similarity.support < MIN_SUPPORT:
            return False
        one, other = np.asarray(self.images[i]), np.asarray(self.images[j])
        return same_tissue(similarity.support, agreement(one, other, similarity))

    def compare(self, i: int, j: int) -> None:
        """Join two rows that show the same tissue, unless it is known or was refused too often."""
        one, other = self.clusters.root(i), self.clusters.root(j)
        between = (min(one, other), max(one, other))
        if one == other or self._refused.get(between, 0) >= PATIENCE:
            return
        if self._alike(i, j):
            self.clusters.join(one, other)
            self.found.append((i, j))
        elif max(self.clusters.size(one), self.clusters.size(other)) > 1:
            # Two single rows are compared but once, so theirs need not be counted.
            self._refused[between] += 1


def near_duplicate_pairs(
    images: Images,
    fingerprints: NDArray[np.float32],
    points: KeyPointsOf | None = None,
    *,
    neighbours: int = NEIGHBOURS,
    progress: bool = False,
) -> NDArray[np.int64]:
    """Return int64 (P, 2), i < j, sorted: the pairs of rows that show the same tissue.

    Rows of images, uint8 (N, S, S, 3), are read one at a time. fingerprints is float32 (N, D) of
    `fingerprint`. points are those of `find`, looked for and kept here if they are not given.

    Pairs that others already join are not compared: what comes back is just enough to make the
    clusters, one pair fewer than images in each. An image with about as many copies as it was
    asked for neighbours may have more of them, so it is asked for four times as many, until not.
    """
    count = len(fingerprints)
    if count < 2:
        return np.empty((0, 2), np.int64)
    tree = cKDTree(_search_space(fingerprints))
    comparison = _Comparison(images, points or FoundKeyPoints(images), count)
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


def clusters(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 (count,): the cluster of each row, numbered by first appearance."""
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, label = connected_components(links, directed=False)
    _, first, label = np.unique(label, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[label]
