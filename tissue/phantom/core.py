"""One core: the outline, damage and dirt round the tissue that an organ's function draws."""

import io
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from tissue.common.stains import DENSITY_TO_STAIN, mix_stains
from tissue.phantom import gut, lymphoid, parenchyma, skin, uterus
from tissue.phantom.latents import LATENTS
from tissue.phantom.layers import REFERENCE, Field, Tissue, rotate, smooth_noise
from tissue.phantom.plan import Core
from tissue.phantom.staining import Antibody, Slide, stain

SMALLEST = 224  # smaller pictures are drawn at this size and shrunk, as a scanner's are
FAINT = 0.05  # stain amount below which tissue is hardly seen
LEAST = 0.02  # share of a picture that tissue takes, at least: a blank one shows no organ
CUTS = 20  # attempts to leave that much
# By class. Each draws the tissue of one core; the generator is that of the donor.
ARCHITECTURES: dict[str, Callable[[Tissue, Generator], None]] = {
    "colon": gut.colon,
    "endometrium_1": partial(uterus.endometrium, ages=LATENTS["endometrium_1"]),
    "endometrium_2": partial(uterus.endometrium, ages=LATENTS["endometrium_2"]),
    "kidney": parenchyma.kidney,
    "liver": parenchyma.liver,
    "lung": parenchyma.lung,
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
    size = max(core.size, SMALLEST)
    rng = np.random.default_rng(core.core_seed)
    slide = Slide(np.random.default_rng(core.slide_seed))
    antibody = Antibody(np.random.default_rng(core.antibody_seed))

    side = round(_draw_share(rng) * size)
    tissue = Tissue(side, size / REFERENCE, rng)
    ARCHITECTURES[core.class_name](tissue, np.random.default_rng(core.donor_seed))
    haematoxylin, dab = stain(tissue, slide, antibody)
    thickness = _cut(tissue, haematoxylin + dab > FAINT, LEAST * (size / side) ** 2)
    thickness *= (1 + _folds(tissue)) * math.exp(rng.normal(0, 0.2))

    stains = np.zeros((size, size, 3), np.float32)
    top, left = (round(float(rng.uniform(0.1, 0.9)) * (size - side)) for _ in range(2))
    stains[top : top + side, left : left + side, 0] = haematoxylin * thickness
    stains[top : top + side, left : left + side, 1] = dab * thickness
    _add_fragments(stains, tissue, (left + side / 2, top + side / 2))
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
        thickness = _outline(tissue) * (1 - _tears(tissue))
        if float((stained * thickness).mean()) >= least:
            break
    return thickness


def drawn_latent(core: Core) -> float:
    """Return the latent that `core`, of a class with one, is drawn with, without drawing it."""
    rng = np.random.default_rng(core.core_seed)
    _draw_share(rng)  # as in `draw_core`, where it comes first
    return LATENTS[core.class_name].draw(np.random.default_rng(core.donor_seed), rng)


def _draw_share(rng: Generator) -> float:
    return rng.uniform(0.74, 0.95)  # of the side of the picture that the tissue takes


def _outline(tissue: Tissue) -> Field:
    """Return the mask of the core: a punched disc, a little squashed, ragged, sometimes cut off."""
    rng = tissue.rng
    radius = tissue.side / 2 / tissue.unit - 3
    angle, squash = rng.uniform(0, np.pi), rng.uniform(0.93, 1.0)
    along, across = rotate(tissue.x, tissue.y, angle)
    ragged = rng.uniform(0.3, 1.6)
    inside = radius - np.hypot(along, across / squash)
    chewed = np.clip(0.25 + 0.8 * tissue.noise(60), 0.15, 2)  # smooth here, frayed there
    inside -= ragged * chewed * (1.6 * tissue.noise(2.6) + 3 * np.maximum(tissue.noise(8), 0) ** 2)
    inside -= 3 * np.maximum(tissue.noise(70), 0)
    if rng.random() < 0.1:  # part of the core was lost
        cut = rng.uniform(-0.25, 0.6) * radius
        along, _ = rotate(tissue.x, tissue.y, rng.uniform(0, 2 * np.pi))
        edge = cut - along + 9 * tissue.noise(60) + 2.5 * tissue.noise(8)
        inside = np.minimum(inside, edge)
    return tissue.mask(inside)


def _tears(tissue: Tissue) -> Field:
    """Return the mask of the clefts and holes of the core."""
    rng = tissue.rng
    torn = np.zeros_like(tissue.x)
    for _ in range(rng.choice(4, p=[0.6, 0.25, 0.1, 0.05])):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-120, 120)
        along, across = rotate(tissue.x, tissue.y, angle)
        across = across - offset + 10 * tissue.noise(50)
        start, width = rng.uniform(-60, 160), rng.gamma(1.5, 2.0)
        opening = width * np.clip((along - start) / 80, -1, 1.5) + 1.5 * tissue.noise(6)
        torn = np.maximum(torn, tissue.mask(opening - np.abs(across)))
    return torn


def _folds(tissue: Tissue) -> Field:
    """Return the relative thickness added by folds and by uneven cutting."""
    rng = tissue.rng
    thick = np.zeros_like(tissue.x)
    if rng.random() < 0.12:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-110, 110)
        along, across = rotate(tissue.x, tissue.y, angle)
        across = across - offset + 8 * tissue.noise(60)
        width = rng.uniform(2, 6) * np.clip((along - rng.uniform(-150, 80)) / 60, 0, 1)
        thick = 0.8 * tissue.mask(width - np.abs(across))
    return thick + 0.07 * tissue.noise(120)


def _add_fragments(stains: Field, tissue: Tissue, centre: tuple[float, float]) -> None:
    """Add crumbs of tissue round the core, whose centre is given as column and row."""
    rng, unit, size = tissue.rng, tissue.unit, stains.shape[0]
    for _ in range(rng.poisson(2.5)):
        angle = rng.uniform(0, 2 * np.pi)
        reach = tissue.side / 2 * rng.uniform(0.97, 1.12)
        span = int(unit * rng.gamma(2.0, 5.0)) + 4
        left = int(centre[0] + reach * math.cos(angle) - span / 2)
        top = int(centre[1] + reach * math.sin(angle) - span / 2)
        if left < 0 or top < 0 or left + span > size or top + span > size:
            continue
        line = np.linspace(-1, 1, span, dtype=np.float32)
        shape = 0.5 - np.hypot(line[None] * rng.uniform(1, 3), line[:, None])
        shape = np.clip(2 * (shape + 0.45 * smooth_noise(rng, (span, span), 3 * unit)), 0, 1)
        grain = np.maximum(0.35 + 0.2 * smooth_noise(rng, (span, span), 1.5 * unit), 0)
        patch = stains[top : top + span, left : left + span]
        patch[..., 0] = np.maximum(patch[..., 0], shape * grain)


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
