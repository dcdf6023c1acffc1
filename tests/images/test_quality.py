import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from tissue.common.stains import mix_stains
from tissue.images.quality import choose_crops, measure_quality


def stained_disc(
    *, haematoxylin: float, dab: float, radius: float = 0.5, slide: int = 255, side: int = 128
) -> NDArray[np.uint8]:
    """Draw a disc of speckled tissue; radius is a share of half the side."""
    rng = np.random.default_rng(5)
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    within = (np.hypot(row, column) < radius * side / 2).astype(np.float32)
    speckle = 1 + ndimage.gaussian_filter(rng.normal(size=(side, side)), 1.5)
    amount = within * speckle.astype(np.float32)
    stains = np.stack([haematoxylin * amount, dab * amount, 0 * amount], axis=2)
    return np.rint(mix_stains(stains.astype(np.float32)) * (slide / 255)).astype(np.uint8)


@pytest.mark.parametrize("slide", [255, 240, 225])
@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9])
def test_tissue_fraction_is_the_area_on_any_slide(radius, slide):
    image = stained_disc(haematoxylin=0.4, dab=0.2, radius=radius, slide=slide)
    area = np.pi * radius**2 / 4
    assert measure_quality(image)["tissue_fraction"] == pytest.approx(area, abs=0.04)


def test_stains_are_separated_and_do_not_depend_on_the_slide():
    for slide in (255, 230):
        measured = measure_quality(stained_disc(haematoxylin=0.5, dab=0.2, slide=slide))
        assert measured["haematoxylin"] == pytest.approx(0.5, abs=0.06)
        assert measured["dab"] == pytest.approx(0.2, abs=0.04)


def test_blur_grows_with_blurring():
    image = stained_disc(haematoxylin=0.4, dab=0.2, radius=0.9)
    blurs = [
        measure_quality(ndimage.gaussian_filter(image, (s, s, 0)) if s else image)["blur"]
        for s in (0, 1, 2, 4)
    ]
    assert blurs == sorted(blurs)
    assert blurs[-1] - blurs[0] > 0.2


def test_blur_hardly_depends_on_the_strength_of_the_stain():
    weak = measure_quality(stained_disc(haematoxylin=0.4, dab=0.1, radius=0.9))
    strong = measure_quality(stained_disc(haematoxylin=1.2, dab=0.3, radius=0.9))
    assert strong["blur"] == pytest.approx(weak["blur"], abs=0.03)


@pytest.mark.parametrize("level", [255, 235, 215])
def test_an_empty_slide_has_no_tissue(level):
    assert measure_quality(np.full((64, 64, 3), level, np.uint8)) == {
        "tissue_fraction": 0.0, "blur": 1.0, "haematoxylin": 0.0, "dab": 0.0,
    }  # fmt: skip


def test_an_image_full_of_tissue_is_all_tissue():
    rng = np.random.default_rng(1)
    image = rng.integers(90, 150, (64, 64, 3), dtype=np.uint8)
    assert measure_quality(image)["tissue_fraction"] == 1.0


@settings(max_examples=30)
@given(arrays(np.uint8, st.integers(1, 24).map(lambda side: (side, side, 3))))
def test_measures_are_finite_and_in_range(image):
    measured = measure_quality(image)
    assert np.isfinite(list(measured.values())).all()
    assert 0 <= measured["tissue_fraction"] <= 1
    assert -1e-6 <= measured["blur"] <= 1
    assert min(measured["haematoxylin"], measured["dab"]) >= 0


class TestCrops:
    ZOOM, SIDE = 3, 16

    def empty(self, level: int = 240) -> NDArray[np.uint8]:
        return np.full((self.ZOOM * self.SIDE, self.ZOOM * self.SIDE, 3), level, np.uint8)

    def tile(self, number: int) -> tuple[slice, slice]:
        row, column = np.array(divmod(number, self.ZOOM)) * self.SIDE
        return np.s_[row : row + self.SIDE, column : column + self.SIDE]

    @given(st.sets(st.integers(0, 8), min_size=1))
    def test_crops_with_tissue_are_kept_in_reading_order(self, stained: set[int]) -> None:
        image = self.empty()
        for number in stained:
            image[self.tile(number)] = 60 + 10 * number
        crops = choose_crops(image, within=np.s_[:, :], count=len(stained), zoom=self.ZOOM)
        assert crops.shape == (len(stained), self.SIDE, self.SIDE, 3)
        assert [crop[5, 5, 0] for crop in crops] == [60 + 10 * n for n in sorted(stained)]

    def test_crops_with_the_most_tissue_are_kept_and_the_first_of_equals(self) -> None:
        image = self.empty()
        for number, share in {1: 0.3, 4: 0.6, 5: 0.6, 7: 0.9, 8: 0.6}.items():
            rows, columns = self.tile(number)
            image[rows, columns.start : columns.start + round(share * self.SIDE)] = 100 + number
        crops = choose_crops(image, within=np.s_[:, :], count=3, zoom=self.ZOOM)
        assert [crop[5, 2, 0] for crop in crops] == [104, 105, 107]

    def test_all_crops_are_kept_if_their_number_is_all(self) -> None:
        image = self.empty()
        image[::2] = 90
        crops = choose_crops(image, within=np.s_[:, :], count=9, zoom=self.ZOOM)
        assert [crop.tolist() for crop in crops] == [
            image[self.tile(number)].tolist() for number in range(9)
        ]

    def test_a_grey_slide_beside_padding_is_no_tissue(self) -> None:
        image = self.empty(255)
        within = np.s_[4:44, :]
        image[within] = 240
        image[self.tile(8)][:10] = 90
        (crop,) = choose_crops(image, within=within, count=1, zoom=self.ZOOM)
        assert (crop[:10] == 90).all()
