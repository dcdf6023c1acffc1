import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from stages.images.quality import measure
from stages.images.stains import mix


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
    return np.rint(mix(stains.astype(np.float32)) * (slide / 255)).astype(np.uint8)


@pytest.mark.parametrize("slide", [255, 240, 225])
@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9])
def test_tissue_fraction_is_the_area_whatever_the_grey_of_the_slide(radius, slide):
    image = stained_disc(haematoxylin=0.4, dab=0.2, radius=radius, slide=slide)
    area = np.pi * radius**2 / 4
    assert measure(image)["tissue_fraction"] == pytest.approx(area, abs=0.04)


def test_stains_are_told_apart_and_do_not_depend_on_the_slide():
    for slide in (255, 230):
        measured = measure(stained_disc(haematoxylin=0.5, dab=0.2, slide=slide))
        assert measured["haematoxylin"] == pytest.approx(0.5, abs=0.06)
        assert measured["dab"] == pytest.approx(0.2, abs=0.04)


def test_blur_grows_with_blurring():
    image = stained_disc(haematoxylin=0.4, dab=0.2, radius=0.9)
    blurs = [
        measure(ndimage.gaussian_filter(image, (s, s, 0)) if s else image)["blur"]
        for s in (0, 1, 2, 4)
    ]
    assert blurs == sorted(blurs)
    assert blurs[-1] - blurs[0] > 0.2


def test_blur_hardly_depends_on_the_strength_of_the_stain():
    weak = measure(stained_disc(haematoxylin=0.4, dab=0.1, radius=0.9))
    strong = measure(stained_disc(haematoxylin=1.2, dab=0.3, radius=0.9))
    assert strong["blur"] == pytest.approx(weak["blur"], abs=0.03)


@pytest.mark.parametrize("level", [255, 235, 215])
def test_an_empty_slide_holds_no_tissue(level):
    expected = {"tissue_fraction": 0.0, "blur": 1.0, "haematoxylin": 0.0, "dab": 0.0}
    assert measure(np.full((64, 64, 3), level, np.uint8)) == expected


def test_a_picture_full_of_tissue_is_all_tissue():
    rng = np.random.default_rng(1)
    image = rng.integers(90, 150, (64, 64, 3), dtype=np.uint8)
    assert measure(image)["tissue_fraction"] == 1.0


@settings(max_examples=30)
@given(arrays(np.uint8, st.integers(1, 24).map(lambda side: (side, side, 3))))
def test_measures_are_finite_and_in_range(image):
    measured = measure(image)
    assert np.isfinite(list(measured.values())).all()
    assert 0 <= measured["tissue_fraction"] <= 1
    assert -1e-6 <= measured["blur"] <= 1
    assert min(measured["haematoxylin"], measured["dab"]) >= 0
