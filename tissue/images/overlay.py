"""Structure that stands at the same place in many pictures: text, rulers and frames of a device.

Pictures that share only that are no copies, however many key points agree. Each picture is compared
with a sample of the others, and a key point that has an equal at its own place in a large share of
them is taken out.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tissue.images.keypoints import KeyPoints, root_descriptors

SAMPLE = 128  # pictures that each one is compared with
SHARE = 0.1  # of them, from which structure counts as burned in
LEAST = 5  # pictures, where the sample is small
# How far equal key points may be apart: pixels of `keypoints.SIDE`, octaves, radians.
PLACE, OCTAVES, RADIANS = 1.5, 0.25, 0.25
SIMILAR = 0.8  # least cosine of their descriptors
ALIKE_SHARE = 0.2  # of the key points that a copy in the same place shares at least
ALIKE = 4  # pictures of the sample that are returned as possible copies


class Standing(NamedTuple):
    """What is burned in: bool (K,) of the key points, and sampled rows that share most of it."""

    points: NDArray[np.bool_]
    rows: list[int]


class Overlay:
    """Finds what is burned in into `count` pictures, whose key points `points` returns."""

    def __init__(self, points: Callable[[int], KeyPoints], count: int) -> None:
        rows = np.sort(np.random.default_rng(0).permutation(count)[:SAMPLE])
        found = [points(int(row)) for row in rows]
        self._rows = np.repeat(rows, [len(one.places) for one in found])
        self._descriptors = np.concatenate([one.descriptors for one in found])
        self._tree = cKDTree(np.concatenate([_position(one) for one in found]))
        self._least = max(LEAST, SHARE * len(rows))

    def burned_in(self, row: int, points: KeyPoints) -> Standing:
        """Return which key points of a row are burned in."""
        near = self._tree.query_ball_point(_position(points), 1)
        mine = np.repeat(np.arange(len(near)), [len(one) for one in near])
        theirs = np.concatenate([*near, []]).astype(np.int64)
        other = self._rows[theirs] != row
        mine, theirs = mine[other], theirs[other]
        similar = np.einsum(
            "kd,kd->k",
            root_descriptors(points.descriptors[mine]),
            root_descriptors(self._descriptors[theirs]),
        )
        equal = np.unique(np.stack([mine, self._rows[theirs]], axis=1)[similar >= SIMILAR], axis=0)
        seen = np.bincount(equal[:, 0], minlength=len(near))
        standing = seen >= self._least
        shared = np.bincount(equal[standing[equal[:, 0]], 1])
        most = np.argsort(-shared, kind="stable")[:ALIKE]
        enough = max(1, ALIKE_SHARE * len(near))
        return Standing(standing, [int(one) for one in most if shared[one] >= enough])


def _position(points: KeyPoints) -> NDArray[np.float32]:
    """Return float32 (K, 5): equal key points are less than 1 apart."""
    angle = np.deg2rad(points.angles)
    octave = np.log2(np.maximum(points.diameters, 1e-3))
    return np.column_stack(
        [points.places / PLACE, octave / OCTAVES, np.cos(angle) / RADIANS, np.sin(angle) / RADIANS]
    ).astype(np.float32)
