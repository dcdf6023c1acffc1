"""The eight dihedral views of an image."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tissue.common.augmentation import VIEWS, augment, dihedral, shrink

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


class TestAugment:
    IMAGES = np.random.default_rng(6).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)

    def augmented(self, seed: int = 1, **changes: float) -> NDArray[np.uint8]:
        settings = {"zoom": 0.3, "stain_jitter": 0.2, **changes}
        return augment(self.IMAGES, np.random.default_rng(seed), **settings)

    def test_shape_type_and_seed(self) -> None:
        before = self.IMAGES.copy()
        first = self.augmented()
        assert first.shape == self.IMAGES.shape
        assert first.dtype == np.uint8
        assert np.array_equal(first, self.augmented())
        assert not np.array_equal(first, self.augmented(2))
        assert np.array_equal(self.IMAGES, before)

    def test_without_zoom_and_jitter_it_is_one_of_the_views(self) -> None:
        found = set()
        for seed in range(4):
            results = self.augmented(seed, zoom=0, stain_jitter=0)
            for image, result in zip(self.IMAGES, results, strict=True):
                gaps = [
                    np.abs(dihedral(image, view).astype(int) - result).max() for view in range(8)
                ]
                assert min(gaps) <= 1
                found.add(int(np.argmin(gaps)))
        assert found == set(range(8))

    def test_size_is_given(self) -> None:
        assert self.augmented(size=9).shape == (len(self.IMAGES), 9, 9, 3)

    def test_shrunk_as_by_the_layer_of_the_network(self) -> None:
        from keras import layers

        layer = layers.Resizing(12, 12, antialias=True)(self.IMAGES.astype(np.float32))
        assert np.abs(np.asarray(layer) - shrink(self.IMAGES, 12)).max() <= 1
        assert np.array_equal(shrink(self.IMAGES, 16), self.IMAGES)

    def test_zoom_crops(self) -> None:
        # A frame of another colour is cropped away unless the factor is close to one.
        image = np.full((64, 32, 32, 3), 200, np.uint8)
        image[:, [0, -1]] = image[:, :, [0, -1]] = 0
        frames = [
            (augment(image, np.random.default_rng(1), zoom=zoom, stain_jitter=0) < 100).mean()
            for zoom in (0.0, 0.5)
        ]
        assert frames[1] < 0.6 * frames[0]

    def test_jitter_changes_the_stain_but_not_white(self) -> None:
        white = np.full((4, 8, 8, 3), 255, np.uint8)
        assert (augment(white, np.random.default_rng(1), zoom=0.3, stain_jitter=0.5) == 255).all()
        brown = np.broadcast_to(np.uint8([150, 100, 60]), (40, 8, 8, 3))
        restained = augment(brown, np.random.default_rng(1), zoom=0, stain_jitter=0.3)
        assert np.ptp(restained[:, 0, 0, 1].astype(int)) > 20
        assert (np.ptp(restained.astype(int), axis=(1, 2)) == 0).all()
