"""Find copies of the same picture: exact, turned, mirrored, zoomed, re-coloured or re-compressed.

Candidates share local descriptors (`tissue.images.candidates`), so the work grows in proportion to
the number of pictures. Each pair of candidates is compared by key points and pixels
(`tissue.images.keypoints`), without what a device burns into all pictures
(`tissue.images.overlay`). A copy shows a good part of the same tissue, in any orientation and at up
to twice the scale.

At the end: how copies are listed, and what is said of those that join groups.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from tissue.config.schema import Split
from tissue.images.candidates import CandidateIndex
from tissue.images.keypoints import (
    Alignment,
    KeyPoints,
    agreement,
    align_keypoints,
    find_keypoints,
)
from tissue.images.overlay import Overlay

PATIENCE = 12  # failed comparisons of two clusters before they are no longer compared
# Of 200 drawn and real cores, 199 copies had 5 places or more that agree, and a correlation of 0.58
# or more. Of 2,443 pairs of others that were compared, one had both 6 places and more than 0.4: two
# skins with equally straight edges, 0.46. Copies of photographs had 38 places and 0.8 or more.
MIN_SUPPORT = 5  # places that must agree before pixels are compared
MIN_AGREEMENT = 0.52  # least correlation of the pixels
IN_PLACE_AGREEMENT = 0.7  # the same where no key point but those burned in has to agree
_IN_PLACE = Alignment(np.eye(2, 3), 0)


def exact_digest(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256, in hexadecimal, of the size and the pixels of uint8 (H, W, 3)."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


class Images(Protocol):
    """An array uint8 (N, S, S, 3), or an object that returns its rows."""

    def __len__(self) -> int: ...

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

    def __init__(self, images: Images, points: Callable[[int], KeyPoints]) -> None:
        self._images, self._all_points = images, points
        self._clusters = _Clusters(len(images))
        self._failed: Counter[tuple[int, int]] = Counter()
        self._tried: set[int] = set()
        self._burned_in: dict[int, NDArray[np.bool_]] = {}
        self.found: list[tuple[int, int]] = []

    def find_overlay(self) -> None:
        """Note which key points are burned in; join pictures that agree in all the rest in place.

        What many pictures share in place may also be one picture with many copies.
        """
        overlay = Overlay(self._all_points, len(self._images))
        for row in range(len(self._images)):
            burned_in, alike = overlay.burned_in(row, self._all_points(row))
            if burned_in.any():
                self._burned_in[row] = burned_in
                for other in alike:
                    if self._correlation(row, other, _IN_PLACE) >= IN_PLACE_AGREEMENT:
                        self._note(row, other, True)

    def find_turned(self, *, progress: bool) -> None:
        """Compare each row with the candidates that share most descriptors."""
        index = CandidateIndex(self.own_points, len(self._images))
        rows = range(len(self._images))
        for row in tqdm(rows, "copies", unit="image", disable=None if progress else True):
            for candidate in index.candidates(row):
                self.compare(row, candidate.row, mirrored=candidate.mirrored)

    def own_points(self, row: int) -> KeyPoints:
        """Return the key points of a row that are not burned in."""
        points = self._all_points(row)
        burned_in = self._burned_in.get(row)
        return points if burned_in is None else points.take(~burned_in)

    def _correlation(self, i: int, j: int, alignment: Alignment) -> float:
        burned_in = self._burned_in.get(i)
        hide = None if burned_in is None else self._all_points(i).take(burned_in)
        return agreement(self._images[i], self._images[j], alignment, hide=hide)

    def compare(self, i: int, j: int, *, mirrored: bool) -> None:
        """Join two rows that show the same tissue, unless that is known of their clusters."""
        pair = min(i, j) * len(self._images) + max(i, j)  # one number takes less memory
        one, other = self._clusters.root(i), self._clusters.root(j)
        between = min(one, other), max(one, other)
        if one == other or pair in self._tried or self._failed[between] >= PATIENCE:
            return
        self._tried.add(pair)
        alignment = align_keypoints(self.own_points(i), self.own_points(j), mirrored=mirrored)
        enough = alignment.support >= MIN_SUPPORT
        self._note(i, j, enough and self._correlation(i, j, alignment) >= MIN_AGREEMENT)

    def _note(self, i: int, j: int, same: bool) -> None:
        one, other = self._clusters.root(i), self._clusters.root(j)
        if one == other:
            return
        if same:
            self._clusters.join(one, other)
            self.found.append((min(i, j), max(i, j)))
        elif max(self._clusters.size(one), self._clusters.size(other)) > 1:
            # Two single rows are compared only once, so there is nothing to count.
            self._failed[min(one, other), max(one, other)] += 1


def near_duplicate_pairs(
    images: Images,
    points: Callable[[int], KeyPoints] | None = None,
    *,
    progress: bool = False,
) -> NDArray[np.int64]:
    """Return int64 (P, 2), i < j, sorted: the pairs of rows that show the same tissue.

    Rows that other pairs already join are not compared, so a cluster of n images has n - 1 pairs.

    Args:
        images: uint8 (N, S, S, 3), read one at a time.
        points: returns the key points of a row; by default they are found here.
        progress: whether to show a progress bar.
    """
    points = points or cache(lambda row: find_keypoints(images[row]))
    comparison = _Comparison(images, points)
    if len(images) > 1:
        with threadpool_limits(1):  # more threads add in another order
            comparison.find_overlay()
            comparison.find_turned(progress=progress)
    return np.array(sorted(comparison.found), np.int64).reshape(-1, 2)


def find_copies(
    images: Images, points: Callable[[int], KeyPoints], settings: Split
) -> NDArray[np.int64]:
    """Return `near_duplicate_pairs`, or none if `split.copies` is off."""
    if settings.copies == "off":
        return np.empty((0, 2), np.int64)
    return near_duplicate_pairs(images, points, progress=True)


def join_pairs(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 (count,): the cluster of each row, numbered by first appearance."""
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, label = connected_components(links, directed=False)
    return pd.factorize(label)[0]


def list_duplicates(index: pd.DataFrame) -> pd.DataFrame:
    """Return the images that have copies, set by set: `set,id,class,part,exact,relabelled`.

    `part` is the split, `exact` says that another image of the set has the same pixels, and
    `relabelled` that the set has several classes. Sets are numbered by their first ids.
    """
    sets = index.groupby("copies")
    rows = index.assign(
        part=index["assigned"],
        exact=index.groupby(["copies", "sha256"])["id"].transform("size") > 1,
        relabelled=sets["class"].transform("nunique") > 1,
        first=sets["id"].transform("min"),
    )[sets["id"].transform("size") > 1].sort_values(["first", "id"])
    rows["set"] = rows["first"].factorize()[0] + 1
    return rows[["set", "id", "class", "part", "exact", "relabelled"]]


def joining_pairs(ids: pd.Series, names: pd.Series, links: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the copies (P, 2) whose donors, slides or clusters differ, in words, in order."""
    differ = links[(names.to_numpy()[links[:, 0]] != names.to_numpy()[links[:, 1]])]
    return tuple(
        " = ".join(f"{ids[row]} ({names[row]})" for row in pair) for pair in sorted(differ.tolist())
    )


def describe_joined(joined: Sequence[str]) -> str:
    """Return which copies joined groups, and how to undo that; nothing if none did."""
    if not joined:
        return ""
    examples = "; ".join(joined[:3])
    return (
        f"Groups were joined by {len(joined)} pairs of copies, e.g. {examples}. All copies are in "
        "duplicates.csv; if these are none, set split.copies to report in params.yaml."
    )


def describe_linked(ids: pd.Series, links: NDArray[np.int64]) -> str:
    """Return which copies (P, 2) made the groups, and how to undo that; nothing without any."""
    if not len(links):
        return ""
    first, second = sorted(ids[links[0]])
    return (
        f"The groups are made of {len(links)} pairs of copies, e.g. {first} = {second}; if these "
        "are none, set split.copies to report in params.yaml."
    )
