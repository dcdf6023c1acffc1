"""One core: its outline, damage and dirt, round the tissue that an architecture draws."""

import io
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from tissue.common.stains import DENSITY_TO_STAIN, mix_stains
from tissue.phantom import gut, lymphoid, parenchyma, skin, staining, uterus
from tissue.phantom.plan import Core
from tissue.phantom.tissue import REFERENCE, Field, Tissue, smooth_noise

QUALITY = 90  # of the JPEG files
SMALLEST = 224  # smaller pictures are drawn at this size and shrunk, as a scanner's are
# Each draws one core's tissue; the generator is the donor's, the tissue's own is the core's.
ARCHITECTURES: dict[str, Callable[[Tissue, Generator], None]] = {
    "colon": gut.colon,
    "endometrium_1": partial(uterus.endometrium, older=False),
    "endometrium_2": partial(uterus.endometrium, older=True),
    "kidney": parenchyma.kidney,
    "liver": parenchyma.liver,
    "lung": parenchyma.lung,
    "lymph_node": partial(lymphoid.lymphoid, splenic=False),
    "pancreas": parenchyma.pancreas,
    "skin_1": partial(skin.skin, anogenital=False),
    "skin_2": partial(skin.skin, anogenital=True),
    "small_intestine": gut.small_intestine,
    "spleen": partial(lymphoid.lymphoid, splenic=True),
}


def draw_core(core: Core) -> NDArray[np.uint8]:
    """Return the picture of `core`, uint8 (size, size, 3)."""
    size = max(core.size, SMALLEST)
    rng = np.random.default_rng(core.core_seed)
    on = staining.draw_slide(np.random.default_rng(core.slide_seed))
    by = staining.draw_antibody(np.random.default_rng(core.antibody_seed))
    unit = size / REFERENCE

    diameter = rng.uniform(0.74, 0.95)
    side = round(diameter * size)
    tissue = Tissue(side, unit, rng)
    x, y = tissue.u, tissue.v
    ARCHITECTURES[core.class_name](tissue, np.random.default_rng(core.donor_seed))
    haematoxylin, dab = staining.stain(tissue, on, by, rng)
    there = outline(tissue, x, y) * (1 - tears(tissue, x, y))
    there *= (1 + folds(tissue, x, y)) * math.exp(rng.normal(0, 0.2))  # section thickness

    stains = np.zeros((size, size, 3), np.float32)
    top, left = (round(float(rng.uniform(0.1, 0.9)) * (size - side)) for _ in range(2))
    stains[top : top + side, left : left + side, 0] = haematoxylin * there
    stains[top : top + side, left : left + side, 1] = dab * there
    fragments(stains, (left + side / 2, top + side / 2, side / 2), unit, rng)
    stains[..., 2] = on.hue * stains[..., 0]
    stains += background(size, on, rng)
    dust(stains, unit, rng)
    image = mix_stains(stains)
    if size != core.size:
        shrunk = Image.fromarray(image).resize((core.size, core.size), Image.Resampling.LANCZOS)
        image = np.asarray(shrunk)
    return image


def outline(tissue: Tissue, x: Field, y: Field) -> Field:
    """Return 1 inside the core: a punched disc, a little squashed, ragged, now and then cut off."""
    rng = tissue.rng
    radius = tissue.side / 2 / tissue.unit - 3
    angle, squash = rng.uniform(0, np.pi), rng.uniform(0.93, 1.0)
    a = x * math.cos(angle) + y * math.sin(angle)
    b = (y * math.cos(angle) - x * math.sin(angle)) / squash
    ragged = rng.uniform(0.3, 1.6)
    inside = radius - np.hypot(a, b)
    chewed = np.clip(0.25 + 0.8 * tissue.noise(60), 0.15, 2)  # smooth here, frayed there
    inside -= ragged * chewed * (1.6 * tissue.noise(2.6) + 3 * np.maximum(tissue.noise(8), 0) ** 2)
    inside -= 3 * np.maximum(tissue.noise(70), 0)
    if rng.random() < 0.1:  # part of the core was lost
        cut = rng.uniform(-0.25, 0.6) * radius
        direction = rng.uniform(0, 2 * np.pi)
        along = x * math.cos(direction) + y * math.sin(direction)
        edge = cut - along + 9 * tissue.noise(60) + 2.5 * tissue.noise(8)
        inside = np.minimum(inside, edge)
    return tissue.soft(inside)


def tears(tissue: Tissue, x: Field, y: Field) -> Field:
    """Return 1 in the clefts and holes of the core."""
    rng = tissue.rng
    torn = np.zeros_like(x)
    for _ in range(rng.choice(4, p=[0.6, 0.25, 0.1, 0.05])):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-120, 120)
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle) - offset + 10 * tissue.noise(50)
        start, width = rng.uniform(-60, 160), rng.gamma(1.5, 2.0)
        opening = width * np.clip((along - start) / 80, -1, 1.5) + 1.5 * tissue.noise(6)
        torn = np.maximum(torn, tissue.soft(opening - np.abs(across)))
    return torn


def folds(tissue: Tissue, x: Field, y: Field) -> Field:
    """Return how much thicker the section is where it lies folded, 0 elsewhere."""
    rng = tissue.rng
    thick = np.zeros_like(x)
    if rng.random() < 0.12:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-110, 110)
        across = y * math.cos(angle) - x * math.sin(angle) - offset + 8 * tissue.noise(60)
        along = x * math.cos(angle) + y * math.sin(angle)
        width = rng.uniform(2, 6) * np.clip((along - rng.uniform(-150, 80)) / 60, 0, 1)
        thick = 0.8 * tissue.soft(width - np.abs(across))
    # Sections are never evenly thick, and thicker at one edge.
    return thick + 0.07 * tissue.noise(120)


def fragments(stains: Field, disc: tuple[float, float, float], unit: float, rng: Generator) -> None:
    """Strew crumbs of tissue round the core, into `stains`."""
    size = stains.shape[0]
    for _ in range(rng.poisson(2.5)):
        angle = rng.uniform(0, 2 * np.pi)
        reach = disc[2] * rng.uniform(0.97, 1.12)
        span = int(unit * rng.gamma(2.0, 5.0)) + 4
        left = int(disc[0] + reach * math.cos(angle) - span / 2)
        top = int(disc[1] + reach * math.sin(angle) - span / 2)
        if left < 0 or top < 0 or left + span > size or top + span > size:
            continue
        line = np.linspace(-1, 1, span, dtype=np.float32)
        shape = 0.5 - np.hypot(line[None] * rng.uniform(1, 3), line[:, None])
        shape = np.clip(2 * (shape + 0.45 * smooth_noise(rng, (span, span), 3 * unit)), 0, 1)
        grain = np.maximum(0.35 + 0.2 * smooth_noise(rng, (span, span), 1.5 * unit), 0)
        patch = stains[top : top + span, left : left + span]
        patch[..., 0] = np.maximum(patch[..., 0], shape * grain)


def background(size: int, on: staining.Slide, rng: Generator) -> Field:
    """Return the stain amounts of clear glass: near-white, a little uneven."""
    light = on.light + np.array(on.tint) + rng.normal(0, 0.7)
    clear = np.log(255 / np.minimum(light, 254)) @ DENSITY_TO_STAIN
    grey = np.full(3, 0.8 / on.light) @ DENSITY_TO_STAIN
    uneven = smooth_noise(rng, (size, size), size / 3)
    return (clear + uneven[..., None] * grey.astype(np.float32)).astype(np.float32)


def dust(stains: Field, unit: float, rng: Generator) -> None:
    """Drop specks on the glass: small and dark, or large and out of focus."""
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


def draw_jpeg(core: Core) -> bytes:
    """Return the core as JPEG bytes, RGB, `core.size` pixels a side."""
    buffer = io.BytesIO()
    Image.fromarray(draw_core(core)).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
