"""The phantom as a source of images: a plan of drawn tissue cores, and each core as a JPEG.

The drawing itself is in `stages/phantom/`. A core depends on its own plan entry alone, so any
process may draw any core, in any order, and the bytes are the same.
"""

import io

from PIL import Image

from stages.phantom.core import picture
from stages.phantom.plan import CLASSES, Core, cores

__all__ = ["CLASSES", "Core", "cores", "draw"]

QUALITY = 90


def draw(core: Core) -> bytes:
    """Return the core as JPEG bytes, RGB, `core.size` pixels a side."""
    buffer = io.BytesIO()
    Image.fromarray(picture(core)).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
