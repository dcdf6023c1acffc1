"""Draw textures by formula: the only pictures that the embedded backbone has ever seen.

A *formula* is a class: a family of scalar fields (packings, labyrinths, noise, stripes, rings,
fractals ...), divided into four zones with stains, granules and fibres of their own. An *instance*
is one drawing of it, with its own seed, direction, warp, size and stain strength. After Kataoka et
al., "Pre-training without Natural Images", ACCV 2020 (arXiv 2101.08515), with composed textures in
place of their fractals.

A drawing holds the amounts of three stains, so that it can be shown in any colours (`views.py`).
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from scipy.spatial import cKDTree

from pretrain.formulas import FAMILIES, ZONES, Formula

Field = NDArray[np.float32]
AMOUNT_SCALE = 100.0  # a stored level of 100 is an amount of 1.0


def draw(formula: Formula, *, size: int, seed: list[int]) -> NDArray[np.uint8]:
    """Return one instance as stain amounts, uint8 (size, size, 3), in units of 1 / AMOUNT_SCALE.

    The channels are the stain of the granules, the counterstain and the label.
    """
    rng = np.random.default_rng(seed)
    field = _equalise(_field(formula, size, rng))
    zones = _zone_weights(field, formula.cuts + rng.normal(0.0, 0.03, ZONES - 1))
    strength = np.exp(rng.normal(0.0, 0.25, 3)).astype(np.float32)
    angle = rng.uniform(0, np.pi)
    fibres = _noise(rng, size, formula.fibre_wavelength, stretch=formula.fibre_stretch, angle=angle)
    texture = np.exp(_per_zone(formula.fibre, zones) * fibres - 0.1)
    granules, membrane = _granules(formula, field, zones, rng)
    counterstain = _per_zone(formula.counterstain, zones)
    amounts = np.empty((size, size, 3), np.float32)
    amounts[..., 0] = granules + 0.12 * counterstain
    amounts[..., 1] = counterstain * texture + formula.membrane * membrane
    amounts[..., 2] = _per_zone(formula.label, zones) * texture
    amounts *= strength
    if rng.random() < formula.background:
        amounts *= _presence(rng, size)[..., None]
    return np.clip(np.rint(amounts * AMOUNT_SCALE), 0, 255).astype(np.uint8)


def _field(formula: Formula, size: int, rng: Generator) -> Field:
    """Return the scalar field of the family, float32 (size, size), before equalisation."""
    family = FAMILIES[formula.family]
    if family == "fractal":
        return _fractal(formula, size, rng)
    x, y = _coordinates(formula, size, rng)
    if family in ("round_cells", "lace", "rings", "lattice"):
        return _packing(family, x, y, rng)
    if family == "stripes":
        return np.sin(2 * np.pi * x) + 0.3 * _noise(rng, size, formula.wavelength / 2)
    if family == "cloud":
        rough = sum(_sample_noise(x, y, 2.0**k, rng) * 0.5**k for k in range(3))
        return np.asarray(rough, np.float32)
    band = _sample_noise(x, y, 1.0, rng)
    if family == "labyrinth":
        return band
    if family == "ridges":
        return np.abs(band)
    return np.minimum(np.abs(band), 0.7 * np.abs(_sample_noise(x, y, 2.0, rng)) + 0.1)


def _coordinates(formula: Formula, size: int, rng: Generator) -> tuple[Field, Field]:
    """Return the pixels' coordinates in wavelengths, turned, stretched and warped, (size, size)."""
    wavelength = formula.wavelength * np.exp(rng.normal(0.0, 0.12))
    angle = rng.uniform(0, 2 * np.pi)
    axis = (np.arange(size, dtype=np.float32) - size / 2) / wavelength
    x = axis[None, :] + formula.warp * _noise(rng, size, 1.5 * wavelength)
    y = axis[:, None] + formula.warp * _noise(rng, size, 1.5 * wavelength)
    across, along = _turn(x, y, angle, stretch=formula.stretch)
    return across.astype(np.float32), along.astype(np.float32)


def _turn(
    x: NDArray, y: NDArray, angle: NDArray | float, *, stretch: float
) -> tuple[NDArray, NDArray]:
    """Return coordinates across and along a direction in which the figure is `stretch` longer."""
    root = np.sqrt(stretch)
    across, along = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return across * root, along / root


def _packing(family: str, x: Field, y: Field, rng: Generator) -> Field:
    """Return a field of the distances to scattered centres at coordinates x, y (in spacings)."""
    low_x, low_y = np.floor([x.min(), y.min()]) - 2
    grid = np.mgrid[low_x : x.max() + 3, low_y : y.max() + 3].reshape(2, -1).T
    jitter = 0.12 if family == "lattice" else 0.38
    if family == "lattice":
        grid[:, 0] += 0.5 * (grid[:, 1] % 2)
    centres = grid + rng.uniform(-jitter, jitter, grid.shape)
    # Distances are smooth: every second pixel is enough, and four times cheaper.
    pixels = np.stack([x[::2, ::2], y[::2, ::2]], axis=-1)
    distance, nearest = cKDTree(centres).query(pixels, k=2)
    first, second = distance[..., 0], distance[..., 1]
    cell_size = rng.uniform(0.7, 1.3, len(centres))[nearest[..., 0]]
    if family == "lace":
        field = second - first
    elif family == "rings":
        field = np.cos(2 * np.pi * first * 1.7 / cell_size) - 0.5 * first
    else:
        field = first / np.maximum(second, 1e-3) * cell_size
    return zoom(field.astype(np.float32), 2, order=1, grid_mode=True, mode="nearest")


def _fractal(formula: Formula, size: int, rng: Generator) -> Field:
    """Return the blurred density of an iterated function system, drawn by the chaos game."""
    fixed = np.random.default_rng([7, int(formula.wavelength * 1e6)])
    maps = fixed.uniform(-0.9, 0.9, (4, 2, 3))
    maps[..., :2] += rng.normal(0.0, 0.02, (4, 2, 2))
    norm = np.linalg.norm(maps[..., :2], axis=(1, 2))
    maps[..., :2] *= (np.minimum(norm, 1.1) / norm)[:, None, None]
    points = rng.uniform(-1, 1, (3000, 2))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    density = np.zeros((size, size))
    for step in range(24):
        chosen = maps[rng.integers(4, size=len(points))]
        points = np.einsum("nij,nj->ni", chosen[..., :2], points) + chosen[..., 2]
        if step >= 6:
            # The figure is repeated like a wallpaper, so that every crop holds some of it.
            turned = points @ turn * formula.wavelength / 70.0
            pixel = np.floor(turned * 0.4 * size).astype(int) % size
            np.add.at(density, (pixel[:, 0], pixel[:, 1]), 1.0)
    return gaussian_filter(np.log1p(density), 1.5, mode="wrap").astype(np.float32)


def _noise(
    rng: Generator, size: int, wavelength: float, *, stretch: float = 1.0, angle: float = 0.0
) -> Field:
    """Return band-limited Gaussian noise, mean 0 and deviation 1, float32 (size, size)."""
    row, column = fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None, :]
    across = (np.cos(angle) * column + np.sin(angle) * row) / stretch
    along = -np.sin(angle) * column + np.cos(angle) * row
    frequency = np.hypot(across, along) * wavelength
    envelope = np.exp(-4.0 * (frequency - 0.9) ** 2).astype(np.float32)
    white = fft.rfft2(rng.standard_normal((size, size), np.float32))
    noise = fft.irfft2(white * envelope, s=(size, size))
    return ((noise - noise.mean()) / max(float(noise.std()), 1e-6)).astype(np.float32)


def _sample_noise(x: Field, y: Field, frequency: float, rng: Generator) -> Field:
    """Return band noise of that frequency (per unit of x, y), read at the warped coordinates."""
    tile, pixels_per_unit = 96, 8.0
    noise = _noise(rng, tile, pixels_per_unit)
    coordinates = np.stack([y, x]) * (frequency * pixels_per_unit)
    return map_coordinates(noise, coordinates, order=1, mode="grid-wrap")


def _equalise(field: Field) -> Field:
    """Return the field with its values replaced by their rank, from 0 to 1."""
    ranks = np.linspace(0, 1, 33)
    # Constant areas would make levels equal.
    levels = np.quantile(field[::2, ::2], ranks) + np.linspace(0, 1e-5, 33)
    return np.interp(field, levels, ranks).astype(np.float32)


def _zone_weights(field: Field, cuts: NDArray[np.float64]) -> Field:
    """Return soft memberships of the zones, float32 (ZONES, size, size), which sum to one."""
    above = [1 / (1 + np.exp(-40.0 * (field - cut))) for cut in np.sort(cuts)]
    edges = np.stack([np.ones_like(field), *above, np.zeros_like(field)])
    return (edges[:-1] - edges[1:]).astype(np.float32)


def _per_zone(values: NDArray[np.float64], zones: Field) -> Field:
    """Return for each pixel the mean of the values of its zones, float32 (size, size)."""
    return np.tensordot(values.astype(np.float32), zones, axes=1)


def _granules(formula: Formula, field: Field, zones: Field, rng: Generator) -> tuple[Field, Field]:
    """Return the stain of the granules and the walls between their sites, float32 (size, size)."""
    size = field.shape[0]
    radius = formula.radius * np.exp(rng.normal(0.0, 0.1))
    spacing = 2.0 * radius * np.sqrt(formula.elongation) + 0.8
    sites = np.mgrid[-spacing : size + spacing : spacing, -spacing : size + spacing : spacing]
    sites = sites.reshape(2, -1).T
    sites = sites + rng.uniform(-0.42, 0.42, sites.shape) * spacing
    row, column = np.clip(np.rint(sites), 0, size - 1).astype(int).T
    taken = rng.random(len(sites)) < _per_zone(formula.crowding, zones)[row, column]
    slope = np.stack(np.gradient(gaussian_filter(field, 2.0)))[:, row, column]
    angle = np.arctan2(slope[1], slope[0]) * formula.alignment
    angle = angle + rng.uniform(0, np.pi, len(sites)) * (1 - 0.9 * formula.alignment)
    radii = radius * np.exp(rng.normal(0.0, 0.18, len(sites)))
    depth = np.exp(rng.normal(0.0, 0.2, len(sites))) * taken

    pixels = np.indices((size, size)).reshape(2, -1).T
    distance, nearest = cKDTree(sites).query(pixels, k=2)
    site = nearest[:, 0]
    x, y = (pixels - sites[site]).T
    u, v = _turn(x, y, angle[site], stretch=formula.elongation)
    reach = np.hypot(u, v) / radii[site]
    body = depth[site] / (1 + np.exp(7.0 * (reach - 1.0)))
    body = body.reshape(size, size) * np.exp(formula.chromatin * _noise(rng, size, 3.0))
    wall = np.exp(-(((distance[:, 1] - distance[:, 0]) / 1.5) ** 2)).reshape(size, size)
    return body.astype(np.float32), wall.astype(np.float32)


def _presence(rng: Generator, size: int) -> Field:
    """Return a mask with a ragged edge, 0 where the slide is empty, float32 (size, size)."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.35)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    plane = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None] + offset
    ragged = plane + 0.05 * _noise(rng, size, size / 4) + 0.02 * _noise(rng, size, 8.0)
    return np.clip(0.5 + ragged * size / 3, 0, 1).astype(np.float32)
