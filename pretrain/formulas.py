"""The classes of textures: formulas with random parameters."""

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


class Formula:
    """What the pictures of one class have in common, at random from its index and the seed.

    Arrays are float64 (ZONES,), one value per zone; the cuts are (ZONES - 1,), ascending.
    """

    def __init__(self, index: int, *, seed: int) -> None:
        rng = np.random.default_rng([seed, 1, index])
        opening = rng.random() < 0.6  # the first zone is bright, like the inside of a tube
        self.cuts = np.sort(rng.uniform(0.1, 0.9, ZONES - 1))  # area fractions at which zones end
        if opening:
            self.cuts = np.sort([rng.uniform(0.05, 0.4), *rng.uniform(0.3, 0.9, ZONES - 2)])
        full = np.array([0.1 if opening else 1.0, 1.0, 1.0, 1.0])
        labelled = rng.random() < 0.5
        self.family = index % len(FAMILIES)
        # Distance between repeats of the field in px, its anisotropy, and its warp in wavelengths.
        self.wavelength = float(np.exp(rng.uniform(np.log(14.0), np.log(90.0))))
        self.stretch = float(np.exp(rng.uniform(0.0, 1.1) * (rng.random() < 0.6)))
        self.warp = rng.uniform(0.0, 0.35)
        # Amounts of the stains.
        self.counterstain = rng.uniform(0.05, 1.1, ZONES) * full
        self.label = rng.uniform(0.0, 1.2, ZONES) * (rng.random(ZONES) < 0.5) * full * labelled
        # Contrast, px between repeats and anisotropy of the fine texture.
        self.fibre = rng.uniform(0.0, 0.8, ZONES)
        self.fibre_wavelength = float(np.exp(rng.uniform(np.log(2.5), np.log(12.0))))
        self.fibre_stretch = float(np.exp(rng.uniform(0.0, 1.6)))
        # Granules: probability that a site is taken, radius in px, elongation, alignment (0: they
        # point anywhere, 1: along the contours of the field), contrast inside, stain between sites.
        self.crowding = np.clip(rng.uniform(-0.3, 1.2, ZONES), 0.0, 1.0) * full
        self.radius = float(np.exp(rng.uniform(np.log(1.6), np.log(5.5))))
        self.elongation = float(np.exp(rng.uniform(0.0, 1.0)))
        self.alignment = float(rng.random() < 0.5)
        self.chromatin = rng.uniform(0.0, 0.6)
        self.membrane = max(0.0, rng.uniform(-0.3, 0.5))
        self.background = rng.uniform(0.0, 0.25)  # probability that part of the picture is empty

    def values(self) -> NDArray[np.float32]:
        """Return the parameters as numbers of order one, float32 (P,), for regression."""
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
        family = np.eye(len(FAMILIES))[self.family]
        return np.concatenate([family, scalars, *zones]).astype(np.float32)
