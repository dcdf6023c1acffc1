"""The number in which two classes that overlap differ, and what it allows at best.

Both classes of a pair are drawn by one function of one number from 0 to 1, the latent: how
anogenital a skin is, how old an endometrium, how much of a lymphoid organ is red pulp. Its
distributions overlap on purpose.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.stats import norm

from tissue.common.names import SYSTEMS


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
    "endometrium_1": Latent(0.28, 0.19, 0.08),
    "endometrium_2": Latent(0.72, 0.19, 0.08),
    "lymph_node": Latent(0.33, 0.18, 0.1),
    "skin_1": Latent(0.28, 0.18, 0.06),
    "skin_2": Latent(0.72, 0.18, 0.06),
    "spleen": Latent(0.67, 0.18, 0.1),
}


def partner(name: str) -> str:
    """Return the class that differs from `name` in its latent alone."""
    (other,) = (one for one in LATENTS if one != name and SYSTEMS[one] == SYSTEMS[name])
    return other


def best_recall(name: str) -> float:
    """Return the expected recall of a class if the latent of each core were known.

    As both classes of a pair are drawn equally often and spread alike, no rule beats that of the
    nearer mean. A class without a latent has 1: nothing in the drawing makes it look like another.
    """
    if name not in LATENTS:
        return 1.0
    gap = abs(LATENTS[name].mean - LATENTS[partner(name)].mean)
    return float(norm.cdf(gap / 2 / LATENTS[name].spread))


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
