"""Haematoxylin and DAB as optical densities, by Beer-Lambert absorption.

Light that passes a stain of amount c is dimmed to I = I0 * exp(-c * v), where v says how much
each of red, green and blue is absorbed. The absorption vectors are those of Ruifrok and Johnston,
"Quantification of histochemical staining by color deconvolution", Anal Quant Cytol Histol 2001.
"""

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


def mix(stains: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return RGB uint8 (..., 3) of amounts of haematoxylin, DAB and residual, float (..., 3)."""
    light = 255.0 * np.exp(-(stains @ STAIN_TO_DENSITY))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def scale(image: NDArray[np.uint8], factors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Multiply the amounts of haematoxylin, DAB and residual in RGB uint8 (..., 3) by factors (3,).

    Separating, scaling and mixing are one matrix in the space of optical densities.
    """
    light = _DENSITY_OF_LEVEL.take(image) @ -(DENSITY_TO_STAIN * factors @ STAIN_TO_DENSITY)
    # In place: this runs on every image that is embedded or trained on.
    np.exp(light, out=light)
    light *= 255.0
    np.rint(light, out=light)
    return np.minimum(light, 255, out=light).astype(np.uint8)
