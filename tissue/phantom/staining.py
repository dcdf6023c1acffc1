"""What a slide and its antibody do to the colours: haematoxylin, and DAB where it binds."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tissue.phantom.tissue import Field, Tissue


@dataclass(frozen=True)
class Antibody:
    """Where the brown goes, as optical density per unit of each layer."""

    epithelium: float
    stroma: float
    nuclei: float
    border: float
    content: float
    marked: float  # a scattered few of the cells
    marked_share: float
    patchiness: float
    patch: float  # how coarse the patches are, reference pixels


# Share of antibodies, then brown in epithelium, stroma, nuclei, border, content, marked cells.
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


def draw_antibody(rng: Generator) -> Antibody:
    """Draw an antibody: a pattern, and a strength from none to almost black."""
    shares = np.array([share for share, _ in PATTERNS])
    pattern = PATTERNS[rng.choice(len(PATTERNS), p=shares / shares.sum())][1]
    strength = float(np.exp(rng.normal(-0.75, 0.75)))
    if rng.random() < 0.06:
        strength = rng.uniform(2.0, 3.2)
    epithelium, stroma, nuclei, border, content, marked = (
        float(share * strength * np.exp(rng.normal(0, 0.3))) for share in pattern
    )
    return Antibody(
        epithelium=epithelium,
        stroma=stroma,
        nuclei=nuclei,
        border=border,
        content=content,
        marked=marked,
        marked_share=rng.uniform(0.03, 0.2),
        patchiness=rng.uniform(0.05, 0.4),
        patch=rng.gamma(2, 3) + 3,
    )


@dataclass(frozen=True)
class Slide:
    """How a slide was counterstained: haematoxylin in nuclei and body, its hue, and the light."""

    nuclei: float
    body: float
    hue: float
    haze: float  # brown that sticks to everything
    light: float
    tint: tuple[float, float, float]


def draw_slide(rng: Generator) -> Slide:
    """Draw a slide's counterstain."""
    strength = float(np.exp(rng.normal(0, 0.25)))
    return Slide(
        nuclei=0.66 * strength,
        body=0.19 * strength * float(np.exp(rng.normal(0, 0.25))),
        hue=float(np.clip(rng.normal(0.05, 0.08), -0.07, 0.22)),
        haze=rng.uniform(0.01, 0.11),
        light=rng.uniform(240, 247),
        tint=(rng.normal(0, 0.45), rng.normal(0, 0.45), rng.normal(0, 0.45)),
    )


def stain(tissue: Tissue, on: Slide, by: Antibody, rng: Generator) -> tuple[Field, Field]:
    """Return the amounts of haematoxylin and DAB in `tissue`."""
    nuclei, marked = tissue.nuclei(sigma=0.62, marked=by.marked_share)
    grit = np.maximum(
        1 + 0.24 * tissue.noise(1.0) + 0.3 * tissue.noise(2.3) + 0.08 * tissue.noise(16), 0
    )
    epithelium = tissue.epithelium * grit
    stroma = tissue.stroma * grit
    haematoxylin = on.nuclei * nuclei + on.body * (
        epithelium + 0.85 * stroma + 0.5 * tissue.border + 0.8 * tissue.content
    )
    patches = np.clip(1 + by.patchiness * tissue.noise(by.patch), 0.2, 2.0)
    dab = patches * (
        (by.epithelium + on.haze) * epithelium
        + (by.stroma + on.haze) * stroma
        + by.nuclei * nuclei
        + by.border * tissue.border
        + by.marked * marked
    )
    dab += by.content * tissue.content
    dab *= float(np.exp(rng.normal(0, 0.3)))
    # Dense precipitate saturates, and brown nuclei hide the blue.
    return haematoxylin / (1 + 0.4 * dab), np.minimum(dab, 2.4)
