"""Find copies of the same picture: exact ones, and turned, mirrored, zoomed or re-compressed ones.

Candidates are nearest neighbours of a small fingerprint, so that the work grows with the number
of images times its logarithm; each candidate is then confirmed on the two pictures themselves
(`stages.images.keypoints`). A copy has to show a good part of the same tissue, in any
orientation and at up to 2.5 times the scale.
"""

import hashlib
from collections import Counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from stages.images.keypoints import KeyPoints, agreement, align, find

SIDE = 112  # pixels a side of the picture that is fingerprinted
RINGS, ANGLES = 48, 128  # samples of the log-polar map
BANDS, ORDERS = 4, 16  # bands of rings, and orders of the Fourier series round them
COLOUR_WEIGHT = 0.2  # against the texture, whose fingerprint has length 1
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
    texture, colour = np.split(fingerprints.astype(np.float64), [BANDS * ORDERS], axis=1)
    scale = COLOUR_WEIGHT / np.sqrt(colour.shape[1]) / np.maximum(colour.std(0), 1e-6)
    space = np.concatenate([texture, colour * scale], axis=1)
    space -= space.mean(0)
    _, axes = np.linalg.eigh(space.T @ space)
    return space @ axes[:, ::-1][:, :AXES]


def _candidates(tree: cKDTree, rows: NDArray[np.int64], neighbours: int) -> NDArray[np.int64]:
    """Return (P, 2), i < j, sorted: the rows and their nearest neighbours."""
    neighbours = min(neighbours, tree.n - 1)
    _, near = tree.query(tree.data[rows], k=neighbours + 1)
    pairs = np.stack([np.repeat(rows, neighbours + 1), near.ravel()], axis=1)
    return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)


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


class _Comparison:
    """What is known of the rows while pairs of them are compared."""

    def __init__(self, images: Images, count: int) -> None:
        self.images = images
        self.joined = DisjointSet(range(count))
        self.found: list[tuple[int, int]] = []
        self._points: dict[int, KeyPoints] = {}
        self._refused: Counter[tuple[int, int]] = Counter()

    def _points_of(self, row: int) -> KeyPoints:
        if row not in self._points:
            self._points[row] = find(np.asarray(self.images[row]))
        return self._points[row]

    def _alike(self, i: int, j: int) -> bool:
        similarity = align(self._points_of(i), self._points_of(j))
        if similarity.support < MIN_SUPPORT:
            return False
        one, other = np.asarray(self.images[i]), np.asarray(self.images[j])
        return same_tissue(similarity.support, agreement(one, other, similarity))

    def compare(self, i: int, j: int) -> None:
        """Join two rows that show the same tissue, unless it is known or was refused too often."""
        one, other = self.joined[i], self.joined[j]
        between = (min(one, other), max(one, other))
        if one == other or self._refused[between] >= PATIENCE:
            return
        if self._alike(i, j):
            self.joined.merge(i, j)
            self.found.append((i, j))
        else:
            self._refused[between] += 1


def near_duplicate_pairs(
    images: Images,
    fingerprints: NDArray[np.float32],
    *,
    neighbours: int = NEIGHBOURS,
    progress: bool = False,
) -> NDArray[np.int64]:
    """Return int64 (P, 2), i < j, sorted: the pairs of rows that show the same tissue.

    Rows of images, uint8 (N, S, S, 3), are read one at a time, and about 5 kB of key
    points a row are kept. fingerprints is float32 (N, D) of `fingerprint`.

    Pairs that others already join are not compared: what comes back is just enough to make the
    clusters, one pair fewer than images in each. An image with about as many copies as it was
    asked for neighbours may have more of them, so it is asked for four times as many, until not.
    """
    count = len(fingerprints)
    if count < 2:
        return np.empty((0, 2), np.int64)
    tree = cKDTree(_search_space(fingerprints))
    comparison = _Comparison(images, count)
    rows = np.arange(count)
    while len(rows) and neighbours <= MOST_NEIGHBOURS:
        pairs = _candidates(tree, rows, neighbours).tolist()
        for i, j in tqdm(pairs, "near duplicates", unit="pair", disable=None if progress else True):
            comparison.compare(i, j)
        size = np.array([comparison.joined.subset_size(row) for row in range(count)])
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
