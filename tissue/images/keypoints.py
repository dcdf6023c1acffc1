"""Recognise the same tissue in two pictures by key points, a similarity transform and pixels.

Key points are blobs (nuclei, glands, lumina): extrema of differences of Gaussians in scale space,
as in Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004. A key point is
described by the grey levels on rings around it, as magnitudes of the Fourier series along each
ring, which are invariant to rotation and reflection. In two pictures of the same tissue, one
similarity (rotation, scale, shift, perhaps a reflection) maps many blobs onto each other; the
pixels must then agree as well.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SIDE = 128  # of the grey picture that is searched, in pixels
MOST = 96  # key points kept per picture, the strongest
SIGMAS = 1.4 * 2 ** (np.arange(7) / 2)
RINGS = np.array([1.2, 2.4, 4.0, 6.0, 8.5, 12.0])  # radii, in standard deviations of the blob
RING_BLUR = np.array([0, 0, 1, 2, 2, 3])  # smoothing levels: outer samples are farther apart
ANGLES = 16
ORDERS = 7  # of the Fourier series, the mean included
DESCRIPTOR = len(RINGS) * ORDERS
MIN_CONTRAST = 0.6  # grey levels; fainter blobs are noise of the sensor or of JPEG
HYPOTHESES = 24  # best matches, every two of which give a similarity to try
TOLERANCE = 3.0  # pixels, of SIDE, by which a mapped key point may miss its match
LARGEST_ZOOM = 2.5
MIN_OVERLAP = 0.12  # share of the first picture that the second has to cover


class KeyPoints(NamedTuple):
    """Coordinates complex (K,) as x + iy in pixels, log scales (K,), descriptors int8 (K, D)."""

    coordinates: NDArray[np.complex64]
    scales: NDArray[np.float32]
    descriptors: NDArray[np.int8]


class Similarity(NamedTuple):
    """Maps z of the first picture (its conjugate if mirrored) to turn * z + shift of the second."""

    turn: complex
    shift: complex
    mirrored: bool
    support: int  # key points that agree


def grey(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return RGB uint8 (H, W, 3) as grey float32 (side, side), shrunk by averaging."""
    picture = Image.fromarray(image).convert("L")
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32)


def _scale_space(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    levels = [ndimage.gaussian_filter(picture, SIGMAS[0], truncate=3)]
    for before, after in pairwise(SIGMAS):
        step = float(np.sqrt(after**2 - before**2))
        levels.append(ndimage.gaussian_filter(levels[-1], step, truncate=3))
    return np.stack(levels)


def _blobs(levels: NDArray[np.float32]) -> tuple[NDArray[np.intp], ...]:
    """Return level, row and column of the strongest extrema, sorted by strength."""
    strength = np.abs(np.diff(levels, axis=0))
    inner = strength[1:-1, 4:-4, 4:-4]
    highest = ndimage.maximum_filter(strength, 3)[1:-1, 4:-4, 4:-4]
    level, row, column = np.nonzero((inner == highest) & (inner > MIN_CONTRAST))
    best = np.argsort(-inner[level, row, column], kind="stable")[:MOST]
    return level[best] + 1, row[best] + 4, column[best] + 4


def find_keypoints(image: NDArray[np.uint8]) -> KeyPoints:
    """Return the key points of RGB uint8 (H, W, 3): at most MOST, none on a blank picture."""
    levels = _scale_space(grey(image, SIDE))
    level, row, column = _blobs(levels)
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    radius = (SIGMAS[level, None] * RINGS)[:, :, None]
    rows = np.clip(np.rint(row[:, None, None] + radius * np.sin(angle)), 0, SIDE - 1).astype(int)
    columns = column[:, None, None] + radius * np.cos(angle)
    columns = np.clip(np.rint(columns), 0, SIDE - 1).astype(int)
    blurred = np.minimum(level[:, None] + RING_BLUR, len(SIGMAS) - 1)[:, :, None]
    values = levels[blurred, rows, columns]
    waves = np.fft.rfft(values - values.mean((1, 2), keepdims=True), axis=2)[:, :, :ORDERS]
    series = np.concatenate([waves[:, :, :1].real, np.abs(waves[:, :, 1:]) * np.sqrt(2)], axis=2)
    descriptors = series.reshape(len(level), DESCRIPTOR)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True) + 1e-6
    return KeyPoints(
        coordinates=(column + 1j * row).astype(np.complex64),
        scales=np.log(SIGMAS[level]).astype(np.float32),
        descriptors=np.rint(descriptors * 127).astype(np.int8),
    )


def _mutual(first: KeyPoints, second: KeyPoints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of mutual nearest neighbours, the most similar first."""
    similar = first.descriptors.astype(np.float32) @ second.descriptors.astype(np.float32).T
    forth, back = similar.argmax(1), similar.argmax(0)
    mine = np.flatnonzero(back[forth] == np.arange(len(forth)))
    mine = mine[np.argsort(-similar[mine, forth[mine]], kind="stable")]
    return mine, forth[mine]


@lru_cache
def _two_of(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    one, other = np.triu_indices(count, 1)
    return one, other


def _best_fit(
    source: NDArray[np.complex64], target: NDArray[np.complex64], growth: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return the most matches, bool (M,), that agree with the similarity of two of them."""
    one, other = _two_of(min(HYPOTHESES, len(source)))
    span = source[one] - source[other]
    turn = (target[one] - target[other]) / np.where(np.abs(span) > 8, span, np.inf)
    zoom = np.log(np.abs(turn) + 1e-9)
    expected = (growth[one] + growth[other]) / 2  # the growth of the two blobs also gives the zoom
    fits = (np.abs(zoom) < np.log(LARGEST_ZOOM)) & (np.abs(zoom - expected) < 0.5)
    turn, zoom, anchor = turn[fits], zoom[fits], one[fits]
    if not len(turn):
        return np.zeros(len(source), bool)
    miss = np.abs(turn[:, None] * (source - source[anchor, None]) + target[anchor, None] - target)
    agree = miss < TOLERANCE * np.maximum(1, np.abs(turn))[:, None]
    agree &= np.abs(growth - zoom[:, None]) < 0.6
    return agree[agree.sum(1).argmax()]


def align_keypoints(first: KeyPoints, second: KeyPoints) -> Similarity:
    """Return the similarity from the first picture to the second with the most support."""
    if min(len(first.coordinates), len(second.coordinates)) < 4:
        return Similarity(1, 0, False, 0)
    mine, theirs = _mutual(first, second)
    target, growth = second.coordinates[theirs], second.scales[theirs] - first.scales[mine]
    found = Similarity(1, 0, False, 0)
    for mirrored in (False, True):
        source = first.coordinates[mine]
        source = source.conj() if mirrored else source
        agree = _best_fit(source, target, growth)
        support = int(agree.sum())
        if support > max(2, found.support):
            design = np.stack([source[agree], np.ones(support)], axis=1)
            turn, shift = np.linalg.lstsq(design, target[agree], rcond=None)[0]
            found = Similarity(complex(turn), complex(shift), mirrored, support)
    return found


def _detail(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return fine detail with equal contrast everywhere, else outlines of cores outweigh it."""
    picture = ndimage.gaussian_filter(grey(image, side), 0.7, truncate=3)
    fine = picture - ndimage.uniform_filter(picture, 7)
    # Running sums may be slightly below zero.
    contrast = np.sqrt(np.maximum(ndimage.uniform_filter(fine * fine, 15), 0))
    return fine / (contrast + 2)


def agreement(first: NDArray[np.uint8], second: NDArray[np.uint8], similarity: Similarity) -> float:
    """Return the correlation, -1 to 1, of the detail of two RGB pictures where they overlap."""
    side = SIDE // 2
    scale = SIDE / side
    row, column = np.mgrid[:side, :side].astype(np.float32)
    z = (column + 0.5) * scale - 0.5 + 1j * ((row + 0.5) * scale - 0.5)
    z = z.conj() if similarity.mirrored else z
    mapped = (similarity.turn * z + similarity.shift + 0.5 + 0.5j) / scale - 0.5 - 0.5j
    lowest, highest = np.minimum(mapped.real, mapped.imag), np.maximum(mapped.real, mapped.imag)
    inside = (lowest >= 0) & (highest <= side - 1)
    if inside.mean() < MIN_OVERLAP:
        return 0.0
    mine = _detail(first, side)[inside]
    at = [mapped.imag[inside], mapped.real[inside]]
    theirs = ndimage.map_coordinates(_detail(second, side), at, order=1)
    mine, theirs = mine - mine.mean(), theirs - theirs.mean()
    size = float(np.linalg.norm(mine) * np.linalg.norm(theirs))
    return float(mine @ theirs) / size if size > 0 else 0.0
