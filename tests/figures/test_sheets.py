"""Contact sheets: every class in its row, samples that follow the seed, small files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tissue.figures.sheets import sample_sheet, save_sheet

NAMES = ["colon", "endometrium_1", "kidney", "small_intestine"]


@pytest.fixture
def images() -> np.ndarray:
    """48 images; the red value says which one it is."""
    images = np.zeros((48, 32, 32, 3), dtype=np.uint8)
    images[..., 0] = np.arange(48)[:, None, None]
    return images


@pytest.fixture
def index() -> pd.DataFrame:
    rows = [(f"train/{NAMES[i % 4]}/{i:03d}.png", NAMES[i % 4], i // 4 % 3) for i in range(48)]
    return pd.DataFrame(rows, columns=["id", "class", "group"])


def reds(sheet: Image.Image, row: int, tile: int = 32) -> list[int]:
    """Return the red values of the tiles in a row of a sample sheet."""
    pixels = np.asarray(sheet)[4 + row * (tile + 4) + tile // 2]
    values = [int(pixel[0]) for pixel in pixels if pixel[1] == 0 and pixel[2] == 0]
    return sorted(set(values))


def test_each_class_is_in_its_row_from_different_groups(
    images: np.ndarray, index: pd.DataFrame
) -> None:
    sheet = sample_sheet(images, index, per_class=3, seed=1)
    for row in range(4):
        shown = reds(sheet, row)
        assert [i % 4 for i in shown] == [row] * 3
        assert len({index["group"][i] for i in shown}) == 3


def test_samples_follow_the_seed_and_not_the_order(images: np.ndarray, index: pd.DataFrame) -> None:
    order = np.random.default_rng(3).permutation(48)
    shuffled = index.iloc[order].reset_index(drop=True)
    one = sample_sheet(images, index, per_class=4, seed=1)
    assert one.tobytes() == sample_sheet(images[order], shuffled, per_class=4, seed=1).tobytes()
    assert one.tobytes() != sample_sheet(images, index, per_class=4, seed=2).tobytes()
    with pytest.raises(ValueError, match="48 images and 47 rows"):
        sample_sheet(images, index.head(47), per_class=4, seed=1)


def test_sheets_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 28, 28, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    index = pd.DataFrame({"id": [f"{i:02d}" for i in range(40)]})
    index["class"] = index["id"]
    save_sheet(sample_sheet(images, index, per_class=8, seed=0), tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size < 1_500_000
