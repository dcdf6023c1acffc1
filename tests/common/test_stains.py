"""Stains as optical densities: mixing, separating and scaling them."""

import numpy as np
import pytest

from tissue.common import stains

# RGB uint8 (N, 3) on a grid; level 0 has no density
COLOURS = np.stack(np.meshgrid(*[np.arange(1, 256, 5, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 3)
BLACK = np.zeros((1, 3), np.uint8)
CLEAR = np.full(3, 255, np.float32)  # a slide that dims no light
GLASS = np.uint8([243, 241, 238])  # a slide as scanners give it


def separate(image: np.ndarray) -> np.ndarray:
    """Amounts of haematoxylin, DAB and residual, float (..., 3), of RGB uint8."""
    return -np.log(np.maximum(image, 1) / 255.0) @ stains.DENSITY_TO_STAIN


def test_vectors_have_length_one_and_the_third_is_orthogonal() -> None:
    vectors = stains.STAIN_TO_DENSITY
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
    assert np.allclose(vectors[2] @ vectors[:2].T, 0, atol=1e-6)
    assert np.allclose(stains.DENSITY_TO_STAIN @ vectors, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("amount", [0, 0.1, 0.5, 1.0, 1.5])
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
    assert blue[2] > max(blue[:2])
    assert brown[0] > brown[1] > brown[2]


def test_mixing_separated_stains_restores_every_colour() -> None:
    difference = stains.mix_stains(separate(COLOURS)).astype(int) - COLOURS
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("factors", [(1, 1, 1), (1.3, 0.6, 1), (1, 0, 1)])
def test_scaling_is_separating_multiplying_and_mixing(factors: tuple[float, ...]) -> None:
    colours = np.concatenate([COLOURS, BLACK])
    expected = stains.mix_stains(separate(colours) * np.float32(factors)).astype(int)
    scaled = stains.scale_stains(colours, np.float32(factors), CLEAR)
    assert np.abs(scaled.astype(int) - expected).max() <= 1


def test_white_stays_white_with_its_shape_and_type() -> None:
    white = np.full((2, 4, 5, 3), 255, np.uint8)
    assert np.array_equal(separate(white), np.zeros(white.shape))
    for result in (
        stains.scale_stains(white, np.float32([3, 3, 1]), CLEAR),
        stains.mix_stains(np.zeros(white.shape, np.float32)),
    ):
        assert result.dtype == np.uint8
        assert np.array_equal(result, white)


def test_black_stays_dark_and_finite() -> None:
    assert np.isfinite(separate(BLACK)).all()
    assert (stains.scale_stains(BLACK, np.float32([2, 2, 2]), CLEAR) <= 1).all()


def core_on_glass(padding: int = 0) -> np.ndarray:
    """A disc of both stains on glass, RGB uint8 (64, 64 + 2 * padding, 3), with white padding."""
    rows, columns = np.indices((64, 64)) - 31.5
    inside = (np.hypot(rows, columns) < 20)[..., None]
    light = stains.mix_stains(np.float32([0.3, 0.4, 0])) / 255 * GLASS
    core = np.where(inside, np.rint(light), GLASS).astype(np.uint8)
    return np.pad(core, ((0, 0), (padding, padding), (0, 0)), constant_values=255)


@pytest.mark.parametrize("padding", [0, 20])
@pytest.mark.parametrize("factors", [(3, 0.3, 1), (0.4, 2.5, 1), (1, 1, 1)])
def test_glass_and_padding_keep_their_colour_under_jitter(
    factors: tuple[float, ...], padding: int
) -> None:
    image = core_on_glass(padding)
    slide = stains.empty_slide(image)
    assert slide.tolist() == GLASS.tolist()
    scaled = stains.scale_stains(image, np.float32(factors), slide)
    empty = (image == GLASS).all(axis=2) | (image == 255).all(axis=2)
    assert np.array_equal(scaled[empty], image[empty])
    # The law of Beer and Lambert, with the light that the glass lets through.
    expected = stains.mix_stains(np.float32([0.3, 0.4, 0]) * np.float32(factors)) / 255 * GLASS
    assert np.abs(scaled[~empty] - expected).max() < 3


def test_crops_of_tissue_alone_are_stained_on_the_slide_of_their_image() -> None:
    image = core_on_glass()
    crops = np.broadcast_to(image[31, 31], (1, 1, 64, 64, 3)).astype(np.uint8)
    (images, restained), *_ = stains.augment_stains(
        image[None], crops, stainings=1, jitter=0.8, seed=3
    )
    assert (restained[0, 0] == images[0, 31, 31]).all()
    assert (images[0, 0, 0] == GLASS).all()
    assert (images[0, 31, 31] != image[31, 31]).any()


@pytest.mark.parametrize("level", [255, 120])
def test_the_slide_of_an_image_without_glass_is_not_its_tissue(level: int) -> None:
    slide = stains.empty_slide(np.full((8, 8, 3), level, np.uint8))
    assert slide.tolist() == [max(level, stains.DARKEST_SLIDE)] * 3
