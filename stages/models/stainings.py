"""Images in other stains, as another batch of the stains would have given."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.images import stains
from stages.models.augmentation import stain_factors


def stain_again(
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
        factors = [stain_factors(rng, jitter) for rng in rngs]
        yield _stain(images, factors), None if crops is None else _stain(crops, factors)


def views_of_each(views: int, stainings: int) -> int:
    """Return in how many views each staining is embedded, of an image that has `views`.

    Together they have half as many as the image itself, at least one each.
    """
    return max(1, views // (2 * stainings))


def _stain(images: NDArray[np.uint8], factors: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    return np.stack([stains.scale(image, by) for image, by in zip(images, factors, strict=True)])
