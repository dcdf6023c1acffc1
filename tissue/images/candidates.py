"""Which pictures may show the same tissue: an index of local descriptors by Hamming embedding.

H. Jegou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency for large scale
image search", ECCV 2008. Each descriptor has a word of a vocabulary and 64 bits that say where it
lies within the word. Descriptors with one word and few different bits are a vote for a pair of
pictures, and votes count together if they agree on the angle between the pictures. Words are pairs
of words of the two halves of a descriptor, an inverted multi-index (A. Babenko, V. Lempitsky, CVPR
2012). The vocabulary grows with the number of descriptors, so a picture meets about equally many in
a set of any size.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tissue.images.keypoints import DESCRIPTOR, KeyPoints, root_descriptors

BITS = 64
SAMPLE = 60000  # descriptors that the vocabulary is learned from
PER_WORD = 32  # descriptors, on average
FEWEST_WORDS, MOST_WORDS = 64, 1024  # of a half; with few, all pictures look alike
MOST_DIFFERENT = 18  # bits of two descriptors that vote
ANGLES = 12  # classes of the angle between two pictures; a vote counts for two neighbours
MIN_VOTES = 2.0
BEST = 4  # pictures with the most votes that are candidates in any case
CLEAR_VOTES = 10.0  # more votes make a candidate in any case, up to MOST_CANDIDATES
MOST_CANDIDATES = 64
_HALVES = np.arange(DESCRIPTOR).reshape(4, 2, 16).swapaxes(0, 1).reshape(2, -1)
# A vote counts less the more bits are different; half as wide as chance, as Jegou et al. found.
_WEIGHT = np.exp(-(np.arange(BITS + 1) ** 2) / (BITS / 4) ** 2)


class Candidate(NamedTuple):
    """A row that may show the same tissue as another, or its mirror image."""

    row: int
    mirrored: bool
    votes: float


class _Vocabulary:
    """Words of the two halves of descriptors, and the axes of the bits."""

    def __init__(self, descriptors: NDArray[np.float32], words: int) -> None:
        # Processes that only find key points import this module, too: not these 100 MB.
        from sklearn.cluster import MiniBatchKMeans

        self.words = words
        self._centres = [
            MiniBatchKMeans(words, random_state=0, n_init=1, batch_size=4096, max_iter=20)
            .fit(descriptors[:, half]).cluster_centers_.astype(np.float32)
            for half in _HALVES
        ]  # fmt: skip
        axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(DESCRIPTOR, DESCRIPTOR)))
        self._axes = axes[:, :BITS].astype(np.float32)

    def encode(
        self, descriptors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """Return the words and the bits, both (K,), of descriptors (K, D)."""
        residual = np.empty_like(descriptors)
        word = np.zeros(len(descriptors), np.int32)
        for half, centres in zip(_HALVES, self._centres, strict=True):
            part = descriptors[:, half]
            nearest = ((centres**2).sum(1) - 2 * part @ centres.T).argmin(1)
            residual[:, half] = part - centres[nearest]
            word = word * self.words + nearest.astype(np.int32)
        bits = np.packbits(residual @ self._axes > 0, axis=1)
        return word, bits.view(np.uint64).ravel()


class CandidateIndex:
    """Finds candidates for each of `count` rows, whose key points `points` returns.

    NumPy has to use one thread: more threads add in another order.
    """

    def __init__(self, points: Callable[[int], KeyPoints], count: int) -> None:
        self._points = points
        sizes = np.array([len(points(row).places) for row in range(count)], np.int64)
        self._vocabulary = self._learn(sizes)
        words = np.empty(sizes.sum(), np.int32)
        bits = np.empty(sizes.sum(), np.uint64)
        angles = np.empty(sizes.sum(), np.uint8)
        ends = np.cumsum(sizes)
        for row, (size, end) in enumerate(zip(sizes, ends, strict=True)):
            of_row, found = slice(end - size, end), points(row)
            descriptors = root_descriptors(found.descriptors)
            words[of_row], bits[of_row] = self._vocabulary.encode(descriptors)
            angles[of_row] = _in_bytes(found.angles)
        counts = np.bincount(words, minlength=self._vocabulary.words**2)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        # Hundreds of descriptors for each image: what is no longer needed is deleted at once.
        order = np.argsort(words, kind="stable").astype(np.uint32)
        del words
        self._bits, self._angles = bits[order], angles[order]
        del bits, angles
        self._rows = np.repeat(np.arange(count, dtype=np.int32), sizes)[order]

    def _learn(self, sizes: NDArray[np.int64]) -> _Vocabulary:
        rows = np.random.default_rng(0).permutation(len(sizes))
        enough = np.searchsorted(np.cumsum(sizes[rows]), SAMPLE) + 1
        sample = np.concatenate([self._points(int(row)).descriptors for row in rows[:enough]])
        if not len(sample):  # only blank pictures
            sample = np.zeros((1, DESCRIPTOR), np.uint8)
        words = np.clip(int(np.sqrt(sizes.sum() / PER_WORD)), FEWEST_WORDS, MOST_WORDS)
        return _Vocabulary(root_descriptors(sample), min(int(words), len(sample)))

    def candidates(self, row: int) -> list[Candidate]:
        """Return the candidates of a row, those with the most votes first."""
        found = [
            Candidate(int(other), mirrored, float(votes))
            for mirrored in (False, True)
            for other, votes in zip(*self._votes(row, mirrored), strict=True)
        ]
        found.sort(key=lambda one: (-one.votes, one.row, one.mirrored))
        # A copy has votes for both hands, most for the right one; to compare the other would fail.
        best: dict[int, Candidate] = {}
        for one in found:
            best.setdefault(one.row, one)
        found = list(best.values())
        clear = sum(one.votes >= CLEAR_VOTES for one in found[:MOST_CANDIDATES])
        return found[: max(BEST, clear)]

    def _votes(self, row: int, mirrored: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return other rows and their votes for one angle between the pictures."""
        points = self._points(row)
        descriptors = root_descriptors(points.descriptors, mirrored=mirrored)
        words, bits = self._vocabulary.encode(descriptors)
        start = self._starts[words]
        many = self._starts[words + 1] - start
        mine = np.repeat(np.arange(len(words)), many)
        at = np.arange(len(mine)) + np.repeat(start - np.cumsum(many) + many, many)
        different = np.bitwise_count(bits[mine] ^ self._bits[at])
        near = (different <= MOST_DIFFERENT) & (self._rows[at] != row)
        mine, at, different = mine[near], at[near], different[near]
        angle = _in_bytes(180 - points.angles if mirrored else points.angles)
        turn = self._angles[at] - angle[mine]  # modulo a full turn, as bytes are
        kind = turn.astype(np.int64) * ANGLES // 256
        both = np.concatenate([kind, (kind + 1) % ANGLES])
        keys = np.tile(self._rows[at].astype(np.int64), 2) * ANGLES + both
        keys, inverse = np.unique(keys, return_inverse=True)
        votes = np.bincount(inverse, np.tile(_WEIGHT[different], 2), len(keys)).astype(float)
        return _best_angle(keys // ANGLES, votes)


def _in_bytes(angles: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return angles in degrees as parts, of 256, of a full turn."""
    return np.floor(angles / 360 * 256).astype(np.int64).astype(np.uint8)


def _best_angle(
    rows: NDArray[np.int64], votes: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each of the sorted rows once, with the votes for its best angle."""
    if not len(rows):
        return rows, votes
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    most = np.maximum.reduceat(votes, first)
    enough = most >= MIN_VOTES
    return rows[first][enough], most[enough]
