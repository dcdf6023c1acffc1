"""The eight dihedral views of an image."""

import numpy as np
import pytest

from tissue.common.augmentation import VIEWS, dihedral

# Without symmetry, so that all its views differ
IMAGE = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)


def test_views_are_the_symmetry_group_of_the_square() -> None:
    views = [dihedral(IMAGE, view) for view in range(VIEWS)]
    known = [view.tobytes() for view in views]
    assert len(set(known)) == 8
    table = np.array(
        [[known.index(dihedral(view, number).tobytes()) for number in range(8)] for view in views]
    )
    # Each row and column has every view once: the views are closed, and each has an inverse.
    for line in (*table, *table.T):
        assert sorted(line) == list(range(8))
    assert (table != table.T).any()
    assert np.array_equal(IMAGE.ravel(), np.arange(75)), "the input was changed"


def test_the_first_four_are_quarter_turns_and_the_others_are_mirrored() -> None:
    for view in range(4):
        turned = np.rot90(IMAGE, view)
        assert np.array_equal(dihedral(IMAGE, view), turned)
        assert np.array_equal(dihedral(IMAGE, 4 + view), np.fliplr(turned))


@pytest.mark.parametrize("view", range(8))
def test_a_batch_is_transformed_image_by_image(view: int) -> None:
    batch = np.random.default_rng(1).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    expected = np.stack([dihedral(image, view) for image in batch])
    assert np.array_equal(dihedral(batch, view), expected)
    assert dihedral(batch, view).dtype == np.uint8


@pytest.mark.parametrize("view", [-1, 8])
def test_other_views_are_refused(view: int) -> None:
    with pytest.raises(ValueError, match=f"expected 0 to 7. Received: {view}"):
        dihedral(IMAGE, view)
