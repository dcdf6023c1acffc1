"""Recognise the same tissue in two pictures by SIFT key points, an affine map and pixels.

Key points and descriptors are those of Lowe, "Distinctive image features from scale-invariant
keypoints", IJCV 2004, as OpenCV finds them; descriptors are compared as in Arandjelovic and
Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012 (RootSIFT). In
two pictures of the same tissue, one affine map (rotation, scale, shift, perhaps shear or a
reflection) takes many key points to each other; the pixels must then agree as well.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 176  # of the grey picture that is searched, in pixels
MOST = 400  # key points kept per picture, those with the most contrast
MIN_CONTRAST = 0.01  # of SIFT's default of 0.04: pale tissue has little contrast
DESCRIPTOR = 128  # 4 rows, 4 columns and 8 orientations of gradients
RATIO = 0.85  # most distance of a match, relative to that of the second nearest
TOLERANCE = 3.0  # pixels, of SIDE, by which a mapped key point may miss its match
LEAST_MATCHES = 4
ITERATIONS = 2000  # of RANSAC, whose seed OpenCV sets for each call
DETAIL = 96  # side, in pixels, of the pictures whose pixels are compared
REACH = 5  # pixels of DETAIL that a structure changes around it
MIN_OVERLAP = 0.1  # share of the first picture that the second has to cover

_PARTS = np.arange(DESCRIPTOR).reshape(4, 4, 8)[::-1]
_MIRRORED = _PARTS[..., -np.arange(8) % 8].ravel()

# More threads find the same key points in another order.
cv2.setNumThreads(1)


class KeyPoints(NamedTuple):
    """Places (x, y) float32 (K, 2) and diameters (K,) in pixels of SIDE, descriptors uint8 (K, D).

    `angles` are the directions of the key points in degrees, float32 (K,). Descriptors are square
    roots of the shares of their sum (RootSIFT), times 512.
    """

    places: NDArray[np.float32]
    diameters: NDArray[np.float32]
    angles: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    def take(self, kept: NDArray[np.bool_]) -> "KeyPoints":
        """Return some of the key points, bool (K,)."""
        return KeyPoints(
            self.places[kept], self.diameters[kept], self.angles[kept], self.descriptors[kept]
        )


class Alignment(NamedTuple):
    """Maps (x, y, 1) of the first picture, both in pixels of SIDE, to (x, y) of the second."""

    matrix: NDArray[np.float64]  # (2, 3)
    support: int  # matched places that agree


def _grey(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return RGB uint8 (H, W, 3) as grey uint8 (height, width)."""
    picture = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    shrinks = width < picture.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way), np.uint8)


def find_keypoints(
    image: NDArray[np.uint8], within: tuple[slice, slice] | None = None
) -> KeyPoints:
    """Return at most MOST key points of RGB uint8 (S, S, 3), the strongest first.

    A blank picture has none. The part outside `within` (see `content_box`) is not searched, since
    the corners of the padding would be key points that pictures of one shape share.
    """
    side = len(image)
    rows, columns = within or (slice(0, side), slice(0, side))
    scale = SIDE / side
    height, width = (max(1, round((part.stop - part.start) * scale)) for part in (rows, columns))
    picture = _grey(image[rows, columns], width, height)
    sift = cv2.SIFT.create(nfeatures=MOST, contrastThreshold=MIN_CONTRAST)
    found, descriptors = sift.detectAndCompute(picture, None)
    order = sorted(range(len(found)), key=lambda at: -found[at].response)[:MOST]
    if not order:
        descriptors = np.empty((0, DESCRIPTOR), np.float32)
    corner = np.array([columns.start, rows.start]) * scale
    places = np.array([found[at].pt for at in order]).reshape(-1, 2) + corner
    return KeyPoints(
        places=places.astype(np.float32),
        diameters=np.array([found[at].size for at in order], np.float32),
        angles=np.array([found[at].angle for at in order], np.float32),
        descriptors=_rooted(np.asarray(descriptors, np.float32)[order]),
    )


def _rooted(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    shares = descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1)
    return np.minimum(np.rint(512 * np.sqrt(shares)), 255).astype(np.uint8)


def root_descriptors(
    descriptors: NDArray[np.uint8], *, mirrored: bool = False
) -> NDArray[np.float32]:
    """Return descriptors at length 1, float32 (K, D), of the picture or of its mirror image.

    In a mirror image the rows of the descriptor are in reverse, and so are its orientations.
    """
    if mirrored:
        descriptors = descriptors[:, _MIRRORED]
    values = descriptors.astype(np.float32)
    length = np.sqrt(np.einsum("kd,kd->k", values, values))
    values /= np.maximum(length, 1)[:, None]
    return values


def _matches(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of mutual nearest neighbours that are clearly nearer than the second."""
    similar = first @ second.T
    forth, back = similar.argmax(1), similar.argmax(0)
    mine = np.flatnonzero(back[forth] == np.arange(len(forth)))
    theirs = forth[mine]
    similar = similar[mine]
    rows = np.arange(len(mine))
    nearest = similar[rows, theirs]
    similar[rows, theirs] = -1
    # Squared distances of vectors of length 1.
    clear = 2 - 2 * nearest < RATIO**2 * (2 - 2 * similar.max(1, initial=-1))
    return mine[clear], theirs[clear]


def align_keypoints(first: KeyPoints, second: KeyPoints, *, mirrored: bool) -> Alignment:
    """Return the affine map from the first picture to the second with the most support.

    `mirrored` compares the descriptors of the mirror image of the first picture.
    """
    none = Alignment(np.zeros((2, 3)), 0)
    if min(len(first.places), len(second.places)) < LEAST_MATCHES:
        return none
    mine, theirs = _matches(
        root_descriptors(first.descriptors, mirrored=mirrored),
        root_descriptors(second.descriptors),
    )
    if len(mine) < LEAST_MATCHES:
        return none
    source, target = first.places[mine], second.places[theirs]
    # Not only similarities: data sets of altered copies contain sheared ones.
    matrix, agree = cv2.estimateAffine2D(
        source, target, ransacReprojThreshold=TOLERANCE, maxIters=ITERATIONS
    )
    if matrix is None:
        return none
    # A place may have several key points, one for each direction.
    support = len(np.unique(np.rint(source[agree.ravel() > 0]), axis=0))
    return Alignment(np.array(matrix, np.float64), support)


def _detail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return fine detail with equal contrast everywhere, else outlines of cores outweigh it."""
    picture = cv2.GaussianBlur(_grey(image, DETAIL, DETAIL).astype(np.float32), (0, 0), 0.7)
    fine = picture - cv2.blur(picture, (7, 7))
    # Running sums may be slightly below zero.
    contrast = np.sqrt(np.maximum(cv2.blur(fine * fine, (15, 15)), 0))
    return fine / (contrast + 2)


def agreement(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    alignment: Alignment,
    *,
    hide: KeyPoints | None = None,
) -> float:
    """Return the correlation, -1 to 1, of the detail of two RGB pictures where they overlap.

    The surroundings of the key points `hide` of the first picture are not compared.
    """
    scale = SIDE / DETAIL
    # From the middles of pixels of one size to those of the other.
    between = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    matrix = np.linalg.inv(between) @ np.vstack([alignment.matrix, [0, 0, 1]]) @ between
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (DETAIL, DETAIL)
    inside = cv2.warpAffine(np.ones(size, np.uint8), matrix[:2], size, flags=flags)
    if hide is not None:
        for (x, y), diameter in zip(hide.places / scale, hide.diameters / scale, strict=True):
            cv2.circle(inside, (round(x), round(y)), round(diameter / 2 + REACH), 0, cv2.FILLED)
    seen = inside > 0
    if seen.mean() < MIN_OVERLAP:
        return 0.0
    mine = _detail(first)[seen]
    theirs = cv2.warpAffine(_detail(second), matrix[:2], size, flags=flags)[seen]
    mine, theirs = mine - mine.mean(), theirs - theirs.mean()
    length = float(np.linalg.norm(mine) * np.linalg.norm(theirs))
    return float(mine @ theirs) / length if length > 0 else 0.0
