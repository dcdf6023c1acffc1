"""The layers of tissue, and what several organs draw into them."""

import numpy as np
import pytest

from tissue.phantom import damage
from tissue.phantom.kidney import APART, kidney
from tissue.phantom.layers import Field, Tissue
from tissue.phantom.structures import draw_fat, draw_vessel


def tissue_of(seed: int = 0, side: int = 200, unit: float = 1.0) -> Tissue:
    return Tissue(side, unit, np.random.default_rng(seed))


def body_of(tissue: Tissue) -> Field:
    return tissue.epithelium + tissue.stroma + tissue.content


@pytest.mark.parametrize("spacing", [8.0, 16.0, 32.0])
@pytest.mark.parametrize("unit", [0.5, 1.0])
def test_stripes_of_a_labyrinth_are_as_far_apart_as_asked(spacing: float, unit: float) -> None:
    tissue = tissue_of(side=256, unit=unit)
    stripes = tissue.labyrinth(spacing)
    assert abs(stripes.mean()) < 0.3
    assert stripes.std() == pytest.approx(1, abs=0.25)
    window = np.outer(np.hanning(256), np.hanning(256))  # the picture does not end on a stripe
    power = np.abs(np.fft.fft2(window * stripes)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    mean = (power * frequency).sum() / power.sum()  # cycles per pixel
    assert 1 / (mean * unit) == pytest.approx(spacing, rel=0.15)


def test_a_labyrinth_is_stretched_along_u() -> None:
    tissue = tissue_of()
    stripes = tissue.labyrinth(10, stretch=3)
    along, across = (np.abs(np.diff(stripes, axis=axis)).mean() for axis in (1, 0))
    assert along < 0.5 * across


def test_parts_of_cores_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "MISSING", 1.0)
    shares = []
    for seed in range(20):
        tissue = tissue_of(seed, side=100, unit=0.25)
        shares.append(damage.outline(tissue).mean())
    assert min(shares) < 0.6 < max(shares)


def test_a_vessel_and_fat_replace_what_was_there() -> None:
    tissue = tissue_of(side=400)
    tissue.epithelium += 1
    tissue.add_nuclei(np.ones_like(tissue.x), spacing=4)
    draw_vessel(tissue, 12, 4, filled=0)
    empty = (body_of(tissue) == 0).mean()
    assert np.pi * 12**2 / 2 < empty * tissue.x.size < 3 * np.pi * 12**2
    draw_fat(tissue, tissue.x, 14)
    right = tissue.x > 2
    assert tissue.epithelium[right].max() == 0
    assert 0.5 < (body_of(tissue)[right] < 0.05).mean() < 0.97
    assert tissue.epithelium[~right].mean() > 0.5


def test_glomeruli_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    monkeypatch.setattr(
        "tissue.phantom.kidney._glomerulus", lambda tissue, centre, *_: places.append(centre)
    )
    for seed in range(6):
        places.clear()
        kidney(tissue_of(seed, side=100, unit=0.25), np.random.default_rng(seed))
        gaps = [np.hypot(a - c, b - d) for a, b in places for c, d in places if (a, b) != (c, d)]
        assert min(gaps, default=np.inf) > APART
