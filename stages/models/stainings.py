"""Features of images in other stains, as another batch of the stains would have given."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.images import stains
from stages.models.augmentation import stain_factors
from stages.models.embedding import Embedder, embed_batch


def embed_stained(
    network: Embedder,
    images: NDArray[np.uint8],
    crops: NDArray[np.uint8] | None,
    *,
    views: int,
    stainings: int,
    jitter: float,
    seed: int,
) -> NDArray[np.float32]:
    """Return features as `embed_batch` does, of images and their crops in other stains.

    Each image is stained `stainings` times anew, by factors that depend on the seed and its pixels
    alone. Together they have half as many views as the image itself, at least one each.

    Args:
        network: from images to features.
        images: uint8 (N, S, S, 3).
        crops: uint8 (N, C, S, S, 3), or None; stained as their image is.
        views: number of dihedral views of the image itself.
        stainings: how often, 1 or more.
        jitter: standard deviation of the factors on haematoxylin and DAB (Tellez et al. 2019,
            arXiv 1902.06543).
        seed: of the factors.
    """
    rngs = [np.random.default_rng([seed, zlib.crc32(image.tobytes())]) for image in images]
    each = views_of_each(views, stainings)
    features = []
    for _ in range(stainings):
        factors = [stain_factors(rng, jitter) for rng in rngs]
        stained = _stain(images, factors)
        magnified = None if crops is None else _stain(crops, factors)
        features.append(embed_batch(network, stained, magnified, views=each))
    return np.concatenate(features, axis=1)


def views_of_each(views: int, stainings: int) -> int:
    """Return in how many views each staining is embedded, of an image that has `views`."""
    return max(1, views // (2 * stainings))


def _stain(images: NDArray[np.uint8], factors: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    return np.stack([stains.scale(image, by) for image, by in zip(images, factors, strict=True)])
