"""Draws textures by formula: the only pictures the embedded backbone has ever seen.

A *formula* is a class: a family of scalar fields (packings, labyrinths, noise, stripes, rings,
fractals ...) cut into four zones, each with its own stains, granules and fibres. An *instance* is
one picture of it: another seed, direction, warp, size and stain strength. After Kataoka et al.,
"Pre-training without Natural Images", ACCV 2020 (arXiv 2101.08515), with composed textures in
place of their fractals.

Pictures are kept as amounts of three stains (see `views.py` for their colours), so that one
drawing can be shown in any colour.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from scipy.spatial import cKDTree

from pretrain.formulas import FAMILIES, ZONES, Formula

Field = NDArray[np.float32]
AMOUNT_SCALE = 100.0  # a stored level of 100 is an amount of 1.0


def draw(spec: Formula, *, size: int, seed: list[int]) -> NDArray[np.uint8]:
    """Return one instance as stain amounts, uint8 (size, size, 3), in units of 1 / AMOUNT_SCALE.

    The channels are the granules' stain, the counterstain and the label.
    """
    rng = np.random.default_rng(seed)
    field = _equalised(_field(spec, size, rng))
    zones = _zone_weights(field, spec.cuts + rng.normal(0.0, 0.03, ZONES - 1))
    strength = np.exp(rng.normal(0.0, 0.25, 3))
    fibres = _noise(
        rng, size, spec.fibre_wavelength, stretch=spec.fibre_stretch, angle=rng.uniform(0, np.pi)
    )
    texture = np.exp(_per_zone(spec.fibre, zones) * fibres - 0.1)
    granules, membrane = _granules(spec, field, zones, rng)
    amounts = np.empty((size, size, 3), np.float32)
    amounts[..., 0] = granules + 0.12 * _per_zone(spec.counterstain, zones)
    amounts[..., 1] = _per_zone(spec.counterstain, zones) * texture + spec.membrane * membrane
    amounts[..., 2] = _per_zone(spec.label, zones) * texture
    amounts *= strength.astype(np.float32)
    if rng.random() < spec.background:
        amounts *= _presence(rng, size)[..., None]
    return np.clip(np.rint(amounts * AMOUNT_SCALE), 0, 255).astype(np.uint8)


def _coordinates(spec: Formula, size: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the pixels' place in wavelengths, rotated, stretched and warped, each (size, size)."""
    wavelength = spec.wavelength * np.exp(rng.normal(0.0, 0.12))
    angle = rng.uniform(0, 2 * np.pi)
    axis = (np.arange(size, dtype=np.float32) - size / 2) / wavelength
    x = axis[None, :] + spec.warp * _noise(rng, size, 1.5 * wavelength)
    y = axis[:, None] + spec.warp * _noise(rng, size, 1.5 * wavelength)
    root = np.sqrt(spec.stretch)
    across = (np.cos(angle) * x + np.sin(angle) * y) * root
    along = (-np.sin(angle) * x + np.cos(angle) * y) / root
    return across.astype(np.float32), along.astype(np.float32)


def _field(spec: Formula, size: int, rng: np.random.Generator) -> Field:
    """Return the family's scalar field, float32 (size, size), before equalisation."""
    name = FAMILIES[spec.family]
    if name == "fractal":
        return _fractal(spec, size, rng)
    x, y = _coordinates(spec, size, rng)
    if name in ("round_cells", "lace", "rings", "lattice"):
        return _packing(name, x, y, rng)
    if name == "stripes":
        return np.sin(2 * np.pi * x) + 0.3 * _noise(rng, size, spec.wavelength / 2)
    if name == "cloud":
        rough = sum(_sampled(x, y, 2.0**k, rng) * 0.5**k for k in range(3))
        return np.asarray(rough, np.float32)
    band = _sampled(x, y, 1.0, rng)
    if name == "labyrinth":
        return band
    if name == "ridges":
        return np.abs(band)
    return np.minimum(np.abs(band), 0.7 * np.abs(_sampled(x, y, 2.0, rng)) + 0.1)


def _packing(name: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return a field of the distances to scattered centres at coordinates x, y (in spacings)."""
    low_x, low_y = np.floor([x.min(), y.min()]) - 2
    grid = np.mgrid[low_x : x.max() + 3, low_y : y.max() + 3].reshape(2, -1).T
    jitter = 0.12 if name == "lattice" else 0.38
    if name == "lattice":
        grid[:, 0] += 0.5 * (grid[:, 1] % 2)
    centres = grid + rng.uniform(-jitter, jitter, grid.shape)
    # Distances are smooth: every second pixel is enough, and four times cheaper.
    places = np.stack([x[::2, ::2], y[::2, ::2]], axis=-1)
    distance, nearest = cKDTree(centres).query(places, k=2)
    first, second = distance[..., 0], distance[..., 1]
    size_of_cell = rng.uniform(0.7, 1.3, len(centres))[nearest[..., 0]]
    if name == "lace":
        field = second - first
    elif name == "rings":
        field = np.cos(2 * np.pi * first * 1.7 / size_of_cell) - 0.5 * first
    else:
        field = first / np.maximum(second, 1e-3) * size_of_cell
    return zoom(field.astype(np.float32), 2, order=1, grid_mode=True, mode="nearest")


def _fractal(spec: Formula, size: int, rng: np.random.Generator) -> Field:
    """Return the blurred density of an iterated function system, drawn by the chaos game."""
    fixed = np.random.default_rng([7, int(spec.wavelength * 1e6)])
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
            place = points @ turn * spec.wavelength / 70.0
            pixel = np.floor(place * 0.4 * size).astype(int) % size
            np.add.at(density, (pixel[:, 0], pixel[:, 1]), 1.0)
    return gaussian_filter(np.log1p(density), 1.5, mode="wrap").astype(np.float32)


def _noise(
    rng: np.random.Generator,
    size: int,
    wavelength: float,
    *,
    stretch: float = 1.0,
    angle: float = 0.0,
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


def _sampled(x: Field, y: Field, frequency: float, rng: np.random.Generator) -> Field:
    """Return band noise of that frequency (per unit of x, y), read at the warped coordinates."""
    tile, pixels_per_unit = 96, 8.0
    noise = _noise(rng, tile, pixels_per_unit)
    places = np.stack([y, x]) * (frequency * pixels_per_unit)
    return map_coordinates(noise, places, order=1, mode="grid-wrap")


def _equalised(field: Field) -> Field:
    """Return the field with its values replaced by their rank, from 0 to 1."""
    levels = np.quantile(field[::2, ::2], np.linspace(0, 1, 33))
    levels += np.linspace(0, 1e-5, 33)  # constant parts would make the levels equal
    return np.interp(field, levels, np.linspace(0, 1, 33)).astype(np.float32)


def _zone_weights(field: Field, cuts: NDArray[np.float64]) -> Field:
    """Return soft memberships of the zones, float32 (ZONES, size, size), which sum to one."""
    sharpness = 40.0
    above = [1 / (1 + np.exp(-sharpness * (field - cut))) for cut in np.sort(cuts)]
    edges = np.stack([np.ones_like(field), *above, np.zeros_like(field)])
    return (edges[:-1] - edges[1:]).astype(np.float32)


def _per_zone(values: NDArray[np.float64], zones: Field) -> Field:
    """Return the pixels' mean of a value given for each zone, float32 (size, size)."""
    return np.tensordot(values.astype(np.float32), zones, axes=1)


def _granules(
    spec: Formula, field: Field, zones: Field, rng: np.random.Generator
) -> tuple[Field, Field]:
    """Return the granules' stain and the walls between their sites, each float32 (size, size)."""
    size = field.shape[0]
    radius = spec.radius * np.exp(rng.normal(0.0, 0.1))
    spacing = 2.0 * radius * np.sqrt(spec.elongation) + 0.8
    sites = np.mgrid[-spacing : size + spacing : spacing, -spacing : size + spacing : spacing]
    sites = sites.reshape(2, -1).T
    sites = sites + rng.uniform(-0.42, 0.42, sites.shape) * spacing
    inside = np.clip(np.rint(sites), 0, size - 1).astype(int)
    taken = rng.random(len(sites)) < _per_zone(spec.crowding, zones)[inside[:, 0], inside[:, 1]]
    slope = np.stack(np.gradient(gaussian_filter(field, 2.0)))[:, inside[:, 0], inside[:, 1]]
    angle = np.arctan2(slope[1], slope[0]) * spec.alignment
    angle = angle + rng.uniform(0, np.pi, len(sites)) * (1 - 0.9 * spec.alignment)
    size_of = radius * np.exp(rng.normal(0.0, 0.18, len(sites)))
    depth = np.exp(rng.normal(0.0, 0.2, len(sites))) * taken

    pixels = np.indices((size, size)).reshape(2, -1).T
    distance, nearest = cKDTree(sites).query(pixels, k=2)
    offset = pixels - sites[nearest[:, 0]]
    turn = angle[nearest[:, 0]]
    root = np.sqrt(spec.elongation)
    u = (np.cos(turn) * offset[:, 0] + np.sin(turn) * offset[:, 1]) * root
    v = (-np.sin(turn) * offset[:, 0] + np.cos(turn) * offset[:, 1]) / root
    reach = np.hypot(u, v) / size_of[nearest[:, 0]]
    body = depth[nearest[:, 0]] / (1 + np.exp(7.0 * (reach - 1.0)))
    body = body.reshape(size, size) * np.exp(spec.chromatin * _noise(rng, size, 3.0))
    wall = np.exp(-(((distance[:, 1] - distance[:, 0]) / 1.5) ** 2)).reshape(size, size)
    return body.astype(np.float32), wall.astype(np.float32)


def _presence(rng: np.random.Generator, size: int) -> Field:
    """Return a mask, 0 where the slide is empty, with a ragged edge, float32 (size, size)."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.35)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    plane = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None] + offset
    ragged = plane + 0.05 * _noise(rng, size, size / 4) + 0.02 * _noise(rng, size, 8.0)
    return np.clip(0.5 + ragged * size / 3, 0, 1).astype(np.float32)
