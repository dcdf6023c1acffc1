"""Haematoxylin and DAB as optical densities, by Beer-Lambert absorption.

Light that passes a stain of amount c is dimmed to I = I0 * exp(-c * v), where v says how much
each of red, green and blue is absorbed. The absorption vectors are those of Ruifrok and Johnston,
"Quantification of histochemical staining by color deconvolution", Anal Quant Cytol Histol 2001.
"""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

HAEMATOXYLIN = (0.650, 0.704, 0.286)
DAB = (0.268, 0.570, 0.776)
# The direction that neither stain takes; it holds what the two cannot explain (ink, blood, dust).
RESIDUAL = tuple(
    float(v) for v in np.cross(HAEMATOXYLIN, DAB) / np.linalg.norm(np.cross(HAEMATOXYLIN, DAB))
)

STAIN_TO_DENSITY: NDArray[np.float32] = np.array([HAEMATOXYLIN, DAB, RESIDUAL], np.float32)
DENSITY_TO_STAIN: NDArray[np.float32] = np.linalg.inv(STAIN_TO_DENSITY).astype(np.float32)

# One entry a grey level: a table look-up is ten times faster than a logarithm a pixel.
_DENSITY_OF_LEVEL = -np.log(np.maximum(np.arange(256), 1) / 255.0).astype(np.float32)


def mix_stains(stains: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return RGB uint8 (..., 3) of amounts of haematoxylin, DAB and residual, float (..., 3)."""
    light = 255.0 * np.exp(-(stains @ STAIN_TO_DENSITY))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def scale_stains(image: NDArray[np.uint8], factors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Multiply the amounts of haematoxylin, DAB and residual in RGB uint8 (..., 3) by factors (3,).

    Separating, scaling and mixing are one matrix in the space of optical densities.
    """
    light = _DENSITY_OF_LEVEL.take(image) @ -(DENSITY_TO_STAIN * factors @ STAIN_TO_DENSITY)
    # In place: this runs on every image that is embedded or trained on.
    np.exp(light, out=light)
    light *= 255.0
    np.rint(light, out=light)
    return np.minimum(light, 255, out=light).astype(np.uint8)


def draw_stain_factors(rng: np.random.Generator, amount: float) -> NDArray[np.float32]:
    """Draw factors (3,) for haematoxylin, DAB and residual.

    Their logarithm has the standard deviation `amount`: half as much is as likely as twice. That of
    the residual is 1: it holds no stain that could have been stronger.
    """
    return np.append(np.exp(rng.normal(0.0, amount, 2)), 1.0).astype(np.float32)


def augment_stains(
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    *,
    stainings: int,
    jitter: float,
    seed: int,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    """Yield images and their crops in other stains, `stainings` times.

    By factors that depend on the seed and the pixels of an image alone.

    Args:
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), or None; stained as their image is.
        stainings: how often.
        jitter: standard deviation of the logarithm of the factors on haematoxylin and DAB (after
            Tellez et al. 2019, arXiv 1902.06543).
        seed: of the factors.
    """
    rngs = [np.random.default_rng([seed, zlib.crc32(image.tobytes())]) for image in images]
    for _ in range(stainings):
        factors = [draw_stain_factors(rng, jitter) for rng in rngs]
        yield _stain(images, factors), None if crops is None else _stain(crops, factors)


def views_per_staining(views: int, stainings: int) -> int:
    """Return in how many views each staining is embedded, of an image that has `views`.

    Together they have half as many as the image itself, at least one each.
    """
    return max(1, views // (2 * stainings))


def _stain(images: NDArray[np.uint8], factors: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    return np.stack([scale_stains(image, by) for image, by in zip(images, factors, strict=True)])
