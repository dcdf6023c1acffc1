"""The eight views of an image that has no up: its turns and mirror images."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)

COUNT = 8


def dihedral(images: NDArray[Kind], view: int) -> NDArray[Kind]:
    """Return view 0 to 7 of images (..., S, S, C): 0 as it is, 1-3 quarter turns, 4-7 mirrored."""
    if not 0 <= view < COUNT:
        raise ValueError(f"view: expected 0 to {COUNT - 1}. Received: {view}")
    turned = np.rot90(images, view % 4, axes=(-3, -2))
    return turned[..., ::-1, :] if view >= 4 else turned
