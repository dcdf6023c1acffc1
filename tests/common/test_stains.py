"""Stains as optical densities: separating, mixing and scaling them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tissue.common import stains

ONES = np.ones(3, np.float32)


def separate(image: np.ndarray) -> np.ndarray:
    """Amounts of haematoxylin, DAB and residual, float (..., 3), of RGB uint8."""
    return -np.log(np.maximum(image, 1) / 255.0) @ stains.DENSITY_TO_STAIN


def every_colour(step: int = 5) -> np.ndarray:
    """RGB uint8 (N, 3) on a grid; level 0 has no density and is left out."""
    levels = np.arange(1, 256, step, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)


def test_vectors_have_length_one_and_the_third_is_at_right_angles() -> None:
    vectors = stains.STAIN_TO_DENSITY
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
    assert np.allclose(vectors[2] @ vectors[:2].T, 0, atol=1e-6)
    assert np.allclose(stains.DENSITY_TO_STAIN @ vectors, np.eye(3), atol=1e-5)


def test_white_holds_no_stain_and_no_stain_is_white() -> None:
    assert np.array_equal(separate(np.full((2, 2, 3), 255, np.uint8)), np.zeros((2, 2, 3)))
    assert (stains.mix_stains(np.zeros((2, 2, 3), np.float32)) == 255).all()


@pytest.mark.parametrize("amount", [0.1, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(
    ("number", "vector"), [(0, stains.HAEMATOXYLIN), (1, stains.DAB), (2, stains.RESIDUAL)]
)
def test_beer_lambert(number: int, vector: tuple[float, ...], amount: float) -> None:
    amounts = np.zeros(3, np.float32)
    amounts[number] = amount
    expected = 255 * np.exp(-amount * np.array(vector))
    assert np.abs(stains.mix_stains(amounts) - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-4


def test_densities_add_up() -> None:
    # Light passes one stain after the other: transmissions multiply.
    first, second = np.float32([0.4, 0, 0]), np.float32([0, 0.7, 0])
    product = stains.mix_stains(first) / 255 * stains.mix_stains(second) / 255
    assert np.abs(stains.mix_stains(first + second) / 255 - product).max() < 2 / 255


def test_haematoxylin_is_blue_and_dab_is_brown() -> None:
    blue, brown = stains.mix_stains(np.float32([1, 0, 0])), stains.mix_stains(np.float32([0, 1, 0]))
    assert blue[2] > blue[0]
    assert blue[2] > blue[1]
    assert brown[0] > brown[1] > brown[2]


@given(haematoxylin=st.floats(0, 1.5), dab=st.floats(0, 1.5))
def test_separating_what_was_mixed(haematoxylin: float, dab: float) -> None:
    amounts = np.array([haematoxylin, dab, 0], np.float32)
    image = stains.mix_stains(amounts)
    # Half a grey level of a dark pixel is a large density.
    tolerance = 0.01 + 2.5 / image.min()
    assert np.abs(separate(image) - amounts).max() < tolerance


def test_mixing_what_was_separated_gives_every_colour_back() -> None:
    colours = every_colour()
    difference = stains.mix_stains(separate(colours)).astype(int) - colours
    assert np.abs(difference).max() <= 1


def test_factors_of_one_change_nothing() -> None:
    colours = np.concatenate([every_colour(), np.zeros((1, 3), np.uint8)])
    difference = stains.scale_stains(colours, ONES).astype(int) - colours
    assert np.abs(difference).max() <= 1


def test_scaling_is_separating_multiplying_and_mixing() -> None:
    colours = every_colour(15)
    factors = np.float32([1.3, 0.6, 1.0])
    expected = stains.mix_stains(separate(colours) * factors).astype(int)
    assert np.abs(stains.scale_stains(colours, factors).astype(int) - expected).max() <= 1


def test_stain_that_is_scaled_to_nothing_is_gone() -> None:
    image = stains.mix_stains(np.float32([0.5, 0.8, 0]))
    only_blue = separate(stains.scale_stains(image, np.float32([1, 0, 1])))
    assert np.abs(only_blue - [0.5, 0, 0]).max() < 0.03


def test_white_stays_white_and_shape_and_type_are_kept() -> None:
    image = np.full((2, 4, 5, 3), 255, np.uint8)
    for result in (
        stains.scale_stains(image, np.float32([3, 3, 1])),
        stains.mix_stains(separate(image)),
    ):
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert (result == 255).all()


def test_black_is_dense_and_finite() -> None:
    black = np.zeros((1, 1, 3), np.uint8)
    assert np.isfinite(separate(black)).all()
    assert (stains.scale_stains(black, np.float32([2, 2, 2])) <= 1).all()
