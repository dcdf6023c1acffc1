"""The eight views of an image."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from tissue.common.augmentation import COUNT, dihedral

# No symmetry: all its views differ.
IMAGE = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)


def views(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [dihedral(images, view) for view in range(COUNT)]


def find(image: NDArray[np.uint8]) -> int:
    """The number of the view of IMAGE that an image is."""
    (found,) = [number for number, view in enumerate(views(IMAGE)) if np.array_equal(view, image)]
    return found


def test_eight_different_views() -> None:
    assert COUNT == 8
    assert len({view.tobytes() for view in views(IMAGE)}) == 8
    assert np.array_equal(dihedral(IMAGE, 0), IMAGE)


def test_views_keep_every_pixel_whole() -> None:
    for view in views(IMAGE):
        assert view.shape == IMAGE.shape
        assert view.dtype == np.uint8
        assert sorted(map(tuple, view.reshape(-1, 3))) == sorted(map(tuple, IMAGE.reshape(-1, 3)))


def test_views_of_views_are_views() -> None:
    table = np.array(
        [[find(dihedral(view, number)) for number in range(8)] for view in views(IMAGE)]
    )
    # A group: each row and each column holds every view once, and every view has an inverse.
    for line in (*table, *table.T):
        assert sorted(line) == list(range(8))
    assert sum(table[a, b] != table[b, a] for a, b in product(range(8), repeat=2)) > 0


@pytest.mark.parametrize(
    ("view", "back"), [(0, 0), (1, 3), (2, 2), (3, 1), *zip(range(4, 8), range(4, 8), strict=True)]
)
def test_round_trip(view: int, back: int) -> None:
    # Mirror images are their own inverse, quarter turns have the opposite turn.
    assert np.array_equal(dihedral(dihedral(IMAGE, view), back), IMAGE)


def test_first_four_are_quarter_turns_and_the_fifth_is_the_mirror_image() -> None:
    for view in range(4):
        assert np.array_equal(dihedral(IMAGE, view), np.rot90(IMAGE, view))
    assert np.array_equal(dihedral(IMAGE, 4), np.fliplr(IMAGE))


@pytest.mark.parametrize("view", range(8))
def test_batch_is_turned_image_by_image(view: int) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    expected = np.stack([dihedral(image, view) for image in batch])
    assert np.array_equal(dihedral(batch, view), expected)


def test_input_is_not_changed() -> None:
    before = IMAGE.copy()
    for view in views(IMAGE):
        assert view is not None
    assert np.array_equal(IMAGE, before)


@pytest.mark.parametrize("view", [-1, 8, 100])
def test_other_numbers_are_refused(view: int) -> None:
    with pytest.raises(ValueError, match=f"expected 0 to 7. Received: {view}"):
        dihedral(IMAGE, view)
