"""Training and test images together, as features and as raw pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.dataset.features import mean_features
from stages.dataset.index import read_index, read_part, rows_of
from stages.dataset.sampling import share_of_each

PARTS = ("train", "test")
THUMBNAIL = 28


def joint_index(split: Path, *, max_images: int, seed: int) -> pd.DataFrame:
    """Return the tables of training and test with the column `split`, one below the other.

    With more than `max_images`, each class of each part keeps its share, drawn at random.
    """
    tables = [read_index(split / f"{part}.csv").assign(split=part) for part in PARTS]
    index = pd.concat(tables, ignore_index=True)
    kept = share_of_each(index, ["split", "class"], most=max_images, seed=seed)
    return index.iloc[kept].reset_index(drop=True)


def joint_features(index: pd.DataFrame, embed: Path) -> NDArray[np.float32]:
    """Return standardised features float32 (N, D) of a joint index."""
    parts = [mean_features(rows, part, embed) for part, rows in index.groupby("split", sort=False)]
    features = np.concatenate(parts)
    # A feature that hardly varies says nothing; the small number keeps it from being blown up.
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)


def joint_pixels(index: pd.DataFrame, split: Path) -> NDArray[np.float32]:
    """Return thumbnails float32 (N, K) of the images of a joint index, about 28 pixels a side."""
    thumbnails = []
    for name, rows in index.groupby("split", sort=False):
        part = read_part(split, str(name))
        step = max(1, part.images.shape[1] // THUMBNAIL)
        kept = part.images.shape[1] // step * step
        for row in rows_of(rows["id"], part.index, what=f"{split}/{name}"):
            blocks = np.asarray(part.images[row][:kept, :kept], np.float32)
            blocks = blocks.reshape(kept // step, step, kept // step, step, 3)
            thumbnails.append(blocks.mean(axis=(1, 3)).ravel())
    return np.array(thumbnails)
