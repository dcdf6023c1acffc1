"""How a slide and its antibody stain tissue: haematoxylin, and DAB where the antibody binds."""

import numpy as np
from numpy.random import Generator

from tissue.phantom.layers import Field, Tissue

# Share of antibodies, then DAB in epithelium, stroma, nuclei, border, content, a few cells.
PATTERNS = (
    (0.16, (0.02, 0.02, 0.00, 0.02, 0.02, 0.00)),  # nothing
    (0.18, (0.80, 0.50, 0.30, 0.50, 0.35, 0.00)),  # cytoplasm everywhere
    (0.14, (0.90, 0.08, 0.10, 0.60, 0.30, 0.00)),  # epithelium only
    (0.10, (0.08, 0.80, 0.15, 0.20, 0.30, 0.10)),  # stroma only
    (0.14, (0.10, 0.10, 1.00, 0.05, 0.10, 0.00)),  # nuclei
    (0.08, (0.25, 0.10, 0.05, 1.20, 0.20, 0.00)),  # membranes
    (0.10, (0.08, 0.08, 0.05, 0.05, 0.15, 1.30)),  # a few cells
    (0.06, (0.25, 0.20, 0.05, 0.20, 1.00, 0.20)),  # secretion and plasma
)


class Antibody:
    """A random antibody: how much DAB it leaves, as optical density per unit of each layer."""

    def __init__(self, rng: Generator) -> None:
        shares = np.array([share for share, _ in PATTERNS])
        _, pattern = PATTERNS[rng.choice(len(PATTERNS), p=shares / shares.sum())]
        strength = float(np.exp(rng.normal(-0.75, 0.75)))  # from none to almost black
        if rng.random() < 0.06:
            strength = rng.uniform(2.0, 3.2)
        amounts = [float(amount * strength * np.exp(rng.normal(0, 0.3))) for amount in pattern]
        self.epithelium, self.stroma, self.nuclei, self.border, self.content, self.marked = amounts
        self.marked_share = rng.uniform(0.03, 0.2)
        self.patchiness = rng.uniform(0.05, 0.4)
        self.patch = rng.gamma(2, 3) + 3  # coarseness of the patches, reference pixels


class Slide:
    """A random slide: how it was counterstained with haematoxylin, and the light behind it."""

    def __init__(self, rng: Generator) -> None:
        strength = float(np.exp(rng.normal(0, 0.22)))
        self.nuclei = 0.58 * strength
        self.body = 0.3 * strength * float(np.exp(rng.normal(0, 0.3)))  # all but the nuclei
        self.hue = float(np.clip(rng.normal(0.07, 0.07), -0.06, 0.2))
        self.haze = rng.uniform(0.02, 0.24)  # DAB that sticks to everything
        self.light = rng.uniform(240, 247)  # grey level of clear glass
        self.tint = rng.normal(0, 0.6, 3)
        self.focus = rng.uniform(0.05, 0.5)  # deviation of the blur, reference pixels
        self.grit = rng.uniform(0.4, 1.0)  # of the texture inside cells and fibres
        # Files hold fewer details than pixels where a scan was saved smaller and enlarged again.
        self.resolution = rng.uniform(0.5, 1.0)


def stain(tissue: Tissue, slide: Slide, antibody: Antibody) -> tuple[Field, Field]:
    """Return the amounts of haematoxylin and DAB in the tissue."""
    nuclei, marked = tissue.draw_nuclei(marked=antibody.marked_share)
    grit = 0.2 * tissue.noise(1.0) + 0.22 * tissue.noise(2.3)
    grit = np.maximum(1 + slide.grit * grit + 0.05 * tissue.noise(16), 0)
    epithelium, stroma = tissue.epithelium * grit, tissue.stroma * grit
    haematoxylin = slide.nuclei * nuclei + slide.body * (
        epithelium + 0.85 * stroma + 0.5 * tissue.border + 0.8 * tissue.content
    )
    patches = np.clip(1 + antibody.patchiness * tissue.noise(antibody.patch), 0.2, 2.0)
    dab = patches * (
        (antibody.epithelium + slide.haze) * epithelium
        + (antibody.stroma + slide.haze) * stroma
        + antibody.nuclei * nuclei
        + antibody.border * tissue.border
        + antibody.marked * marked
    )
    dab += antibody.content * tissue.content
    dab *= float(np.exp(tissue.rng.normal(0, 0.3)))
    # Dense precipitate saturates, and brown nuclei hide the blue.
    return haematoxylin / (1 + 0.4 * dab), np.minimum(dab, 2.4)
