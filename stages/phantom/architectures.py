"""The twelve architectures by class name."""

from collections.abc import Callable
from functools import partial

from numpy.random import Generator

from stages.phantom import airway, gut, kidney, lymphoid, parenchyma, skin, uterus
from stages.phantom.tissue import Tissue

# Each draws one core's tissue; the generator is the donor's, the tissue's own is the core's.
ARCHITECTURES: dict[str, Callable[[Tissue, Generator], None]] = {
    "colon": gut.colon,
    "endometrium_1": partial(uterus.endometrium, older=False),
    "endometrium_2": partial(uterus.endometrium, older=True),
    "kidney": kidney.kidney,
    "liver": parenchyma.liver,
    "lung": airway.lung,
    "lymph_node": partial(lymphoid.lymphoid, splenic=False),
    "pancreas": parenchyma.pancreas,
    "skin_1": partial(skin.skin, anogenital=False),
    "skin_2": partial(skin.skin, anogenital=True),
    "small_intestine": gut.small_intestine,
    "spleen": partial(lymphoid.lymphoid, splenic=True),
}
