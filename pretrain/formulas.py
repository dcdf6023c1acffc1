"""What the classes of textures are: formulas with random parameters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ZONES = 4  # from the lowest values of the field (often a bright opening) to the highest
FAMILIES = (
    "round_cells",
    "lace",
    "cloud",
    "labyrinth",
    "stripes",
    "rings",
    "ridges",
    "lattice",
    "fractal",
    "branches",
)


@dataclass(frozen=True)
class Formula:
    """What the pictures of one class have in common; arrays hold one value a zone."""

    family: int
    wavelength: float  # px between repeats of the field
    stretch: float  # 1: same in all directions
    warp: float  # displacement, in wavelengths
    cuts: NDArray[np.float64]  # (ZONES - 1,) area fractions at which zones end, ascending
    counterstain: NDArray[np.float64]  # (ZONES,)
    label: NDArray[np.float64]  # (ZONES,)
    fibre: NDArray[np.float64]  # (ZONES,) contrast of the fine texture
    fibre_wavelength: float
    fibre_stretch: float
    crowding: NDArray[np.float64]  # (ZONES,) probability that a granule site is taken
    radius: float  # granule radius, px
    elongation: float
    alignment: float  # 0: granules point anywhere, 1: along the field's contours
    chromatin: float  # contrast inside a granule
    membrane: float  # stain between the granules' cells
    background: float  # probability of an empty part

    def values(self) -> NDArray[np.float32]:
        """Return the formula as numbers of order one, float32 (P,), for regression."""
        one_hot = np.eye(len(FAMILIES))[self.family]
        scalars = [
            np.log(self.wavelength / 35.0),
            np.log(self.stretch),
            3.0 * self.warp,
            np.log(self.fibre_wavelength / 5.0),
            np.log(self.fibre_stretch),
            2.0 * np.log(self.radius / 3.0),
            2.0 * np.log(self.elongation),
            self.alignment,
            2.0 * self.chromatin,
            3.0 * self.membrane,
        ]
        zones = [self.cuts, self.counterstain, self.label, self.fibre, self.crowding]
        return np.concatenate([one_hot, scalars, *zones]).astype(np.float32)


def formula(index: int, *, seed: int) -> Formula:
    """Return the formula of class `index`; the same for the same seed."""
    rng = np.random.default_rng([seed, 1, index])
    opening = rng.random() < 0.6  # the first zone is bright, as the inside of a tube
    cuts = np.sort(rng.uniform(0.1, 0.9, ZONES - 1))
    if opening:
        cuts = np.sort([rng.uniform(0.05, 0.4), *rng.uniform(0.3, 0.9, ZONES - 2)])
    empty = np.array([0.1 if opening else 1.0, 1.0, 1.0, 1.0])
    labelled = rng.random() < 0.5
    return Formula(
        family=index % len(FAMILIES),
        wavelength=float(np.exp(rng.uniform(np.log(14.0), np.log(90.0)))),
        stretch=float(np.exp(rng.uniform(0.0, 1.1) * (rng.random() < 0.6))),
        warp=float(rng.uniform(0.0, 0.35)),
        cuts=cuts,
        counterstain=rng.uniform(0.05, 1.1, ZONES) * empty,
        label=rng.uniform(0.0, 1.2, ZONES) * (rng.random(ZONES) < 0.5) * empty * labelled,
        fibre=rng.uniform(0.0, 0.8, ZONES),
        fibre_wavelength=float(np.exp(rng.uniform(np.log(2.5), np.log(12.0)))),
        fibre_stretch=float(np.exp(rng.uniform(0.0, 1.6))),
        crowding=np.clip(rng.uniform(-0.3, 1.2, ZONES), 0.0, 1.0) * empty,
        radius=float(np.exp(rng.uniform(np.log(1.6), np.log(5.5)))),
        elongation=float(np.exp(rng.uniform(0.0, 1.0))),
        alignment=float(rng.random() < 0.5),
        chromatin=float(rng.uniform(0.0, 0.6)),
        membrane=float(max(0.0, rng.uniform(-0.3, 0.5))),
        background=float(rng.uniform(0.0, 0.25)),
    )
