"""Tiles of a slide at one physical scale: those that show tissue, chosen at low power."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from scipy import ndimage

from tissue.common.errors import InputError
from tissue.common.stains import TISSUE_DENSITY, slide_levels
from tissue.config.fetch import Slides
from tissue.slides.cores import Core
from tissue.slides.opening import Slide

PER_TILE = 16  # pixels of the overview along a tile
LEAST_TISSUE = 0.25  # share of a tile
FINER = 1.1  # a slide may be this much coarser than what is asked for
BLACK = 40  # grey level of what was not scanned, of marker pen and of the edge of the glass
MARGIN = 1.2  # of the diameter of a core, that is cut
CENTIMETRE = 3  # unit of the resolution in a file
QUALITY = 95  # of JPEG; slides were compressed harder before


class Tile(NamedTuple):
    """The corner of a tile, in pixels of the first level."""

    left: int
    top: int


def glass_level(overview: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grey level (3,) of the glass on an overview, RGB uint8 (H, W, 3).

    Pure white is where the scanner has not been, and would be taken for brighter glass.
    """
    scanned = (overview != 255).any(axis=2)
    return slide_levels(overview[scanned][None] if scanned.any() else overview)


def tissue_mask(overview: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pixels of an overview, RGB uint8 (H, W, 3), show tissue, bool (H, W).

    Tissue is denser than the glass.
    """
    scanned = (overview != 255).any(axis=2)
    density = np.log(glass_level(overview) / np.maximum(overview, 1)).mean(axis=2)
    dense = ndimage.uniform_filter(density, 3) > TISSUE_DENSITY
    return dense & scanned & (overview.max(axis=2) >= BLACK)


def choose_tiles(slide: Slide, settings: Slides, *, seed: Sequence[int]) -> list[Tile]:
    """Return tiles of a grid with enough tissue, in reading order; at most `settings.most`.

    Of more, which ones is drawn at random, so that they stand for the slide. With a larger `most`
    the same ones are chosen, and others.

    Args:
        slide: an open one.
        settings: side and scale of the tiles.
        seed: of the choice.

    Raises:
        InputError: if the slide is coarser than the tiles.
    """
    if slide.mpp > settings.mpp * FINER:
        raise InputError(
            f"{slide.path}: expected a slide with at most {settings.mpp:g} micrometres per pixel "
            f"(fetch.slides.mpp). Received: {slide.mpp:.4g}. Choose a coarser scale for all slides."
        )
    side = tile_side(slide, settings)
    mask = tissue_mask(slide.overview(side / PER_TILE))
    rows, columns = (length // PER_TILE for length in mask.shape)
    within = mask[: rows * PER_TILE, : columns * PER_TILE]
    share = within.reshape(rows, PER_TILE, columns, PER_TILE).mean(axis=(1, 3))
    found = np.argwhere(share >= LEAST_TISSUE)
    chosen = np.random.default_rng(seed).permutation(len(found))[: settings.most]
    return [
        Tile(round(slide.left + column * side), round(slide.top + row * side))
        for row, column in found[np.sort(chosen)]
    ]


def tile_side(slide: Slide, settings: Slides) -> float:
    """Return the side of a tile in pixels of the first level."""
    return settings.size * settings.mpp / slide.mpp


def read_tile(slide: Slide, tile: Tile, settings: Slides) -> bytes:
    """Return a tile as JPEG bytes, with the colour profile of the slide."""
    side = tile_side(slide, settings)
    image = slide.region(tile, (side, side), (settings.size, settings.size))
    return _jpeg(image, slide, settings.mpp)


def cut_core(slide: Slide, core: Core, overview: NDArray[np.uint8], *, mpp: float) -> bytes:
    """Return the picture of a core as JPEG bytes: a square, with glass outside its circle.

    Args:
        slide: an open one.
        core: in pixels of its first level.
        overview: of the slide, for the level of the glass.
        mpp: micrometres per pixel of the picture; never finer than the slide.
    """
    mpp = max(mpp, slide.mpp)
    side = MARGIN * core.diameter
    size = max(1, round(side * slide.mpp / mpp))
    corner = (core.x - side / 2, core.y - side / 2)
    image = slide.region(corner, (side, side), (size, size)).copy()
    line = (np.arange(size) + 0.5) * 2 / size - 1
    outside = line[:, None] ** 2 + line[None] ** 2 > 1
    image[outside] = np.rint(glass_level(overview))
    return _jpeg(image, slide, mpp)


def _jpeg(image: NDArray[np.uint8], slide: Slide, mpp: float) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = round(1e4 / mpp)
    exif[ExifTags.Base.ResolutionUnit] = CENTIMETRE
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=QUALITY, subsampling=0, icc_profile=slide.profile, exif=exif
    )
    return buffer.getvalue()
