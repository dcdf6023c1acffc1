"""One core: tissue that an organ's function draws, stained, broken, on a glass, in a microscope."""

import io
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tissue.common.stains import DENSITY_TO_STAIN, mix_stains
from tissue.phantom import gut, kidney, lung, lymphoid, parenchyma, skin, uterus
from tissue.phantom.damage import add_fragments, folds, outline, tears
from tissue.phantom.latents import LATENTS
from tissue.phantom.layers import REFERENCE, Field, Tissue, smooth_noise
from tissue.phantom.plan import Core
from tissue.phantom.staining import Antibody, Slide, stain

SMALLEST = 224  # smaller pictures are drawn at this size and shrunk, as a scanner's are
FAINT = 0.05  # stain amount below which tissue is hardly seen
LEAST = 0.03  # share of a picture that tissue takes, at least: a blank one shows no organ
CUTS = 20  # attempts to leave that much
# By class. Each draws the tissue of one core; the generator is that of the donor.
ARCHITECTURES: dict[str, Callable[[Tissue, Generator], None]] = {
    "colon": gut.colon,
    "endometrium_1": partial(uterus.endometrium, ages=LATENTS["endometrium_1"]),
    "endometrium_2": partial(uterus.endometrium, ages=LATENTS["endometrium_2"]),
    "kidney": kidney.kidney,
    "liver": parenchyma.liver,
    "lung": lung.lung,
    "lymph_node": partial(lymphoid.lymphoid, red_pulp=LATENTS["lymph_node"]),
    "pancreas": parenchyma.pancreas,
    "skin_1": partial(skin.skin, anogenital=LATENTS["skin_1"]),
    "skin_2": partial(skin.skin, anogenital=LATENTS["skin_2"]),
    "small_intestine": gut.small_intestine,
    "spleen": partial(lymphoid.lymphoid, red_pulp=LATENTS["spleen"]),
}


def draw_jpeg(core: Core) -> bytes:
    """Return the core as JPEG bytes, RGB, `core.size` pixels a side."""
    buffer = io.BytesIO()
    Image.fromarray(draw_core(core)).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def draw_core(core: Core) -> NDArray[np.uint8]:
    """Return the picture of `core`, uint8 (size, size, 3)."""
    rng = np.random.default_rng(core.core_seed)
    slide = Slide(np.random.default_rng(core.slide_seed))
    size = max(round(slide.resolution * core.size), SMALLEST)
    antibody = Antibody(np.random.default_rng(core.antibody_seed))

    side = round(_draw_share(rng) * size)
    tissue = Tissue(side, size / REFERENCE, rng)
    ARCHITECTURES[core.class_name](tissue, np.random.default_rng(core.donor_seed))
    haematoxylin, dab = stain(tissue, slide, antibody)
    thickness = _cut(tissue, haematoxylin + dab > FAINT, LEAST * (size / side) ** 2)
    thickness *= (1 + folds(tissue)) * math.exp(rng.normal(0, 0.18))

    stains = np.zeros((size, size, 3), np.float32)
    top, left = (round(float(rng.uniform(0.1, 0.9)) * (size - side)) for _ in range(2))
    stains[top : top + side, left : left + side, 0] = haematoxylin * thickness
    stains[top : top + side, left : left + side, 1] = dab * thickness
    add_fragments(stains, tissue, (left + side / 2, top + side / 2))
    focus = slide.focus * tissue.unit * rng.uniform(0.6, 1.3)
    stains[..., :2] = gaussian_filter(stains[..., :2], (focus, focus, 0), truncate=2.5)
    stains[..., 2] = slide.hue * stains[..., 0]
    stains += _glass(size, slide, rng)
    _add_dust(stains, tissue.unit, rng)
    image = Image.fromarray(mix_stains(stains))
    return np.asarray(image.resize((core.size, core.size), Image.Resampling.LANCZOS))


def _cut(tissue: Tissue, stained: NDArray[np.bool_], least: float) -> Field:
    """Return the thickness that outline and tears leave.

    If they leave less than the share `least` of tissue that is seen, as where the half with the
    tissue is lost, the core is cut again.
    """
    for _ in range(CUTS):
        thickness = outline(tissue) * (1 - tears(tissue))
        if float((stained * thickness).mean()) >= least:
            break
    return thickness


def drawn_latent(core: Core) -> float:
    """Return the latent that `core`, of a class with one, is drawn with, without drawing it."""
    rng = np.random.default_rng(core.core_seed)
    _draw_share(rng)  # as in `draw_core`, where it comes first
    return LATENTS[core.class_name].draw(np.random.default_rng(core.donor_seed), rng)


def _draw_share(rng: Generator) -> float:
    """Return the share of the side of the picture that the tissue takes; some cores are small."""
    low, high = (0.62, 0.74) if rng.random() < 0.1 else (0.74, 0.97)
    return rng.uniform(low, high)


def _glass(size: int, slide: Slide, rng: Generator) -> Field:
    """Return the stain amounts of clear glass: near-white, a little uneven."""
    light = slide.light + slide.tint + rng.normal(0, 0.7)
    clear = np.log(255 / np.minimum(light, 254)) @ DENSITY_TO_STAIN
    grey = np.full(3, 0.8 / slide.light) @ DENSITY_TO_STAIN
    uneven = smooth_noise(rng, (size, size), size / 3)
    return (clear + uneven[..., None] * grey.astype(np.float32)).astype(np.float32)


def _add_dust(stains: Field, unit: float, rng: Generator) -> None:
    """Add specks on the glass: small and dark, or large and out of focus."""
    size = stains.shape[0]
    grey = np.ones(3, np.float32) @ DENSITY_TO_STAIN
    for _ in range(rng.poisson(5)):
        blurred = rng.random() < 0.05
        radius = unit * (rng.uniform(4, 9) if blurred else rng.gamma(2.0, 0.4) + 0.3)
        dark = rng.uniform(0.1, 0.35) if blurred else rng.uniform(0.15, 0.9)
        span = int(3 * radius) + 2
        top, left = rng.integers(0, max(1, size - 2 * span), 2)
        line = np.arange(-span, span, dtype=np.float32)
        blob = np.exp(-(((line[None] ** 2 + line[:, None] ** 2) / radius**2) ** 1.5))
        patch = stains[top : top + 2 * span, left : left + 2 * span]
        patch += dark * blob[: patch.shape[0], : patch.shape[1], None] * grey
