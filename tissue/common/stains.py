"""Haematoxylin and DAB as optical densities, by the law of Beer and Lambert.

A stain of amount c dims light to I = I0 * exp(-c * v), where v is the absorption of red, green and
blue. The vectors are those of Ruifrok and Johnston, "Quantification of histochemical staining by
color deconvolution", Anal Quant Cytol Histol 2001.
"""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

HAEMATOXYLIN = (0.650, 0.704, 0.286)
DAB = (0.268, 0.570, 0.776)
# Orthogonal to both stains: what they cannot explain, such as ink, blood or dust.
_CROSS = np.cross(HAEMATOXYLIN, DAB)
RESIDUAL = tuple((_CROSS / np.linalg.norm(_CROSS)).tolist())

STAIN_TO_DENSITY: NDArray[np.float32] = np.array([HAEMATOXYLIN, DAB, RESIDUAL], np.float32)
DENSITY_TO_STAIN: NDArray[np.float32] = np.linalg.inv(STAIN_TO_DENSITY).astype(np.float32)

# By grey level: a look-up is ten times faster than a logarithm per pixel.
_DENSITY_OF_LEVEL = -np.log(np.maximum(np.arange(256), 1) / 255.0).astype(np.float32)


def mix_stains(stains: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return RGB uint8 (..., 3) of amounts of haematoxylin, DAB and residual, float (..., 3)."""
    light = 255.0 * np.exp(-(stains @ STAIN_TO_DENSITY))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def scale_stains(image: NDArray[np.uint8], factors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Multiply haematoxylin, DAB and residual in RGB uint8 (..., 3) by factors (3,).

    On optical densities, separating, scaling and mixing are one matrix.
    """
    light = _DENSITY_OF_LEVEL.take(image) @ -(DENSITY_TO_STAIN * factors @ STAIN_TO_DENSITY)
    # In place, because this runs on every image that is embedded or trained on.
    np.exp(light, out=light)
    light *= 255.0
    np.rint(light, out=light)
    return np.minimum(light, 255, out=light).astype(np.uint8)


def draw_stain_factors(rng: np.random.Generator, jitter: float) -> NDArray[np.float32]:
    """Draw factors (3,) for haematoxylin, DAB and residual; that of the residual is 1.

    `jitter` is the standard deviation of their logarithm: half and twice are equally likely.
    """
    return np.append(np.exp(rng.normal(0.0, jitter, 2)), 1.0).astype(np.float32)


def augment_stains(
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    *,
    stainings: int,
    jitter: float,
    seed: int,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    """Yield restained images and crops, `stainings` times.

    The factors depend on the seed and the pixels of each image alone.

    Args:
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), restained as their image is, or None.
        stainings: number of repetitions.
        jitter: standard deviation of the logarithm of the factors on haematoxylin and DAB
            (Tellez et al. 2019, arXiv 1902.06543).
        seed: of the factors.
    """
    rngs = [np.random.default_rng([seed, zlib.crc32(image.tobytes())]) for image in images]
    for _ in range(stainings):
        factors = [draw_stain_factors(rng, jitter) for rng in rngs]
        yield _scale_each(images, factors), None if crops is None else _scale_each(crops, factors)


def _scale_each(
    images: NDArray[np.uint8], factors: Sequence[NDArray[np.float32]]
) -> NDArray[np.uint8]:
    return np.stack([scale_stains(image, by) for image, by in zip(images, factors, strict=True)])


def views_per_staining(views: int, stainings: int) -> int:
    """Return the number of views in which each staining of an image with `views` is embedded.

    All stainings together have half as many views as the image itself, but at least one each.
    """
    return max(1, views // (2 * stainings))
