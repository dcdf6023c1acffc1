"""The number in which two classes that overlap differ, and what it allows at best.

Both classes of a pair are drawn by one function of one number from 0 to 1, the latent: how
anogenital a skin is, how old an endometrium, how much of a lymphoid organ is red pulp. Its
distributions overlap on purpose. One class of a pair varies little and the other much, so that most
of what lies between is of the first: as in the atlas, the second has the lower recall.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr  # norm.cdf of scipy.stats, which takes a second to import

from tissue.common.names import SYSTEMS

CELLS = 1000  # in which distributions are compared


class Latent(NamedTuple):
    """Its mean in a class, and its standard deviations between donors and between cores."""

    mean: float
    between_donors: float
    between_cores: float

    def draw(self, donor: Generator, core: Generator) -> float:
        """Draw the latent of a core; a donor has one generator for all its cores."""
        of_donor = donor.normal(self.mean, self.between_donors)
        return float(np.clip(of_donor + core.normal(0, self.between_cores), 0, 1))

    @property
    def spread(self) -> float:
        """The standard deviation between cores of different donors."""
        return float(np.hypot(self.between_donors, self.between_cores))


LATENTS = {
    "endometrium_1": Latent(0.28, 0.14, 0.08),
    "endometrium_2": Latent(0.62, 0.26, 0.08),
    "lymph_node": Latent(0.4, 0.27, 0.06),
    "skin_1": Latent(0.2, 0.09, 0.05),
    "skin_2": Latent(0.48, 0.3, 0.05),
    "spleen": Latent(0.85, 0.1, 0.06),
}


def partner(name: str) -> str:
    """Return the class that differs from `name` in its latent alone."""
    (other,) = (one for one in LATENTS if one != name and SYSTEMS[one] == SYSTEMS[name])
    return other


def is_beyond(name: str, value: float) -> bool:
    """Return whether a latent of `value` is more frequent in the partner than in the class."""
    cell = min(int(value * CELLS), CELLS - 1)
    return bool(_frequencies(name)[cell] < _frequencies(partner(name))[cell])


def best_recall(name: str) -> float:
    """Return the expected recall of a class if the latent of each core were known.

    As both classes of a pair are drawn equally often, no rule beats that of the class in which the
    latent is more frequent. A class without a latent has 1, although small intestine without villi
    comes near to colon.
    """
    if name not in LATENTS:
        return 1.0
    own, other = _frequencies(name), _frequencies(partner(name))
    return float(own[own >= other].sum())


@cache
def _frequencies(name: str) -> NDArray[np.float64]:
    """Return the share of cores in each of CELLS equal parts of 0 to 1, float64 (CELLS,).

    What would lie outside is drawn as 0 or 1.
    """
    edges = np.linspace(0, 1, CELLS + 1)
    edges[[0, -1]] = -np.inf, np.inf
    latent = LATENTS[name]
    return np.diff(ndtr((edges - latent.mean) / latent.spread))


def best_accuracy(counts: Mapping[str, int], joined: Mapping[str, str] | None = None) -> float:
    """Return the expected accuracy if the latents were known.

    Args:
        counts: images of each class.
        joined: by class, the tissue or organ system that counts instead of it.
    """
    right = 0.0
    for name, number in counts.items():
        same = joined is not None and name in LATENTS and joined[name] == joined[partner(name)]
        right += number * (1.0 if same else best_recall(name))
    return right / sum(counts.values())
