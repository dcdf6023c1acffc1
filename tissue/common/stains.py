"""Haematoxylin and DAB as optical densities, by the law of Beer and Lambert.

A stain of amount c dims light to I = I0 * exp(-c * v), where v is the absorption of red, green and
blue. The vectors are those of Ruifrok and Johnston, "Quantification of histochemical staining by
color deconvolution", Anal Quant Cytol Histol 2001.
"""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HAEMATOXYLIN = (0.650, 0.704, 0.286)
DAB = (0.268, 0.570, 0.776)
# Orthogonal to both stains: what they cannot explain, such as ink, blood or dust.
_CROSS = np.cross(HAEMATOXYLIN, DAB)
RESIDUAL = tuple((_CROSS / np.linalg.norm(_CROSS)).tolist())

STAIN_TO_DENSITY: NDArray[np.float32] = np.array([HAEMATOXYLIN, DAB, RESIDUAL], np.float32)
DENSITY_TO_STAIN: NDArray[np.float32] = np.linalg.inv(STAIN_TO_DENSITY).astype(np.float32)

# The brightest pixels give the light of the empty slide, but it is never taken below this level:
# in an image full of tissue, the brightest pixels are tissue.
DARKEST_SLIDE = 190
# Optical density from which a pixel is tissue: above the shading and JPEG noise of an empty
# slide (below 0.03), below the palest counterstain (about 0.08).
TISSUE_DENSITY = 0.05
BRIGHT_SHARE = 0.99

# By grey level: a look-up is ten times faster than a logarithm per pixel.
_DENSITY_OF_LEVEL = -np.log(np.maximum(np.arange(256), 1) / 255.0).astype(np.float32)


def mix_stains(stains: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return RGB uint8 (..., 3) of amounts of haematoxylin, DAB and residual, float (..., 3)."""
    light = 255.0 * np.exp(-(stains @ STAIN_TO_DENSITY))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def slide_levels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grey level of the empty slide in each channel of RGB uint8 (H, W, 3)."""
    # Pillow counts five times as fast as NumPy does.
    counts = np.reshape(Image.fromarray(np.ascontiguousarray(image)).histogram(), (3, 256))
    bright = BRIGHT_SHARE * image.shape[0] * image.shape[1]
    levels = [np.searchsorted(np.cumsum(count), bright) for count in counts]
    return np.maximum(levels, DARKEST_SLIDE).astype(np.float32)


def empty_slide(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return `slide_levels` of RGB uint8 (H, W, 3) without its white padding."""
    if not any((edge == 255).all() for edge in (image[0], image[-1], image[:, 0], image[:, -1])):
        return slide_levels(image)
    used = (image != 255).any(axis=2)
    rows, columns = used.any(axis=1), used.any(axis=0)
    if not rows.any():
        return slide_levels(image)
    top, left = int(rows.argmax()), int(columns.argmax())
    bottom, right = len(rows) - int(rows[::-1].argmax()), len(columns) - int(columns[::-1].argmax())
    return slide_levels(image[top:bottom, left:right])


def scale_stains(
    image: NDArray[np.uint8], factors: NDArray[np.float32], slide: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Multiply haematoxylin, DAB and residual in RGB uint8 (..., 3) by factors (3,).

    Densities are relative to the `slide`, levels (3,) from `empty_slide`: otherwise the grey of the
    glass would be scaled like a stain, and coloured by it. What is brighter stays as it is. On
    optical densities, separating, scaling and mixing are one matrix.
    """
    # In place and row by row, because this runs on every image that is embedded or trained on:
    # a loop over the three channels of each pixel is five times as slow.
    width = image.shape[-2]
    rows, slides = image.reshape(-1, 3 * width), np.tile(slide, width)
    densities = _DENSITY_OF_LEVEL.take(rows)
    densities += np.log(slides / 255, dtype=np.float32)
    np.maximum(densities, 0, out=densities)
    light = densities.reshape(-1, 3) @ -(DENSITY_TO_STAIN * factors @ STAIN_TO_DENSITY)
    np.exp(light, out=light)
    light *= np.maximum(rows, slides).reshape(-1, 3)
    np.rint(light, out=light)
    return np.minimum(light, 255, out=light).astype(np.uint8).reshape(image.shape)


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
    drawn = [
        (np.random.default_rng([seed, zlib.crc32(image.tobytes())]), empty_slide(image))
        for image in images
    ]
    for _ in range(stainings):
        how = [(draw_stain_factors(rng, jitter), slide) for rng, slide in drawn]
        yield _scale_each(images, how), None if crops is None else _scale_each(crops, how)


def _scale_each(
    images: NDArray[np.uint8], how: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> NDArray[np.uint8]:
    return np.stack([scale_stains(image, *by) for image, by in zip(images, how, strict=True)])


def views_per_staining(views: int, stainings: int) -> int:
    """Return the number of views in which each staining of an image with `views` is embedded.

    All stainings together have half as many views as the image itself, but at least one each.
    """
    return max(1, views // (2 * stainings))
