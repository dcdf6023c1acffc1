"""Accuracy with a random and with a grouped split: `python -m benchmarks.leakage <zip> <csv>`.

Reads a zip of images as `<class>/<image>` whose copies are known: the lung images of LC25000,
1,196 turned and mirrored copies of 60 photographs, with a CSV (path, group) that names the
photograph of each. Measures how well the clusters of near-duplicates agree with the photographs,
and the accuracy of one classifier (logistic regression on colour and texture) in five folds that
are divided by image, by cluster and by photograph, ten times each.

Expected: an adjusted Rand index of 0.95 or more, and the highest accuracy with a random split.
"""

import argparse
import io
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from tissue.images.duplicates import join_pairs, near_duplicate_pairs
from tissue.images.quality import measure_quality

SIDE = 224
REPEATS = 10


def read(path: Path, ids: pd.Series) -> NDArray[np.uint8]:
    """Return images uint8 (N, SIDE, SIDE, 3) of a zip."""
    pictures = []
    with zipfile.ZipFile(path) as archive:
        for id_ in tqdm(ids, "read", disable=None):
            picture = Image.open(io.BytesIO(archive.read(id_))).convert("RGB")
            pictures.append(np.asarray(picture.resize((SIDE, SIDE))))
    return np.stack(pictures)


def colour_and_texture(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return float64 (21,): optical densities, and the energy of the detail on six scales."""
    density = -np.log((image.astype(np.float64) + 1) / 256).reshape(-1, 3)
    percentiles = np.percentile(density, [10, 50, 90], axis=0).ravel()
    grey = image.mean(2)
    levels = [grey, *(ndimage.gaussian_filter(grey, 2 ** (step / 2)) for step in range(6))]
    detail = [np.log(np.std(fine - coarse) + 1e-3) for fine, coarse in pairwise(levels)]
    return np.concatenate([density.mean(0), density.std(0), percentiles, detail])


def accuracies(
    features: NDArray[np.floating], labels: pd.Series, groups: NDArray | pd.Series | None
) -> NDArray[np.float64]:
    """Return the mean accuracy over the folds of each division, float (REPEATS,)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.01))
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = [kind(5, shuffle=True, random_state=seed) for seed in range(REPEATS)]
    return np.array(
        [cross_val_score(model, features, labels, groups=groups, cv=cv).mean() for cv in folds]
    )


def main() -> None:
    """Print the agreement and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="zip of <class>/<image>")
    parser.add_argument("metadata", type=Path, help="CSV with path and group")
    options = parser.parse_args()
    table = pd.read_csv(options.metadata, dtype=str).sort_values("path", ignore_index=True)
    labels = table["path"].str.split("/").str[0]
    images = read(options.images, table["path"])
    found = join_pairs(len(images), near_duplicate_pairs(images, progress=True))
    sources = table["group"].nunique()
    print(f"{len(images)} images of {sources} photographs: {found.max() + 1} clusters")
    print(f"adjusted Rand index {adjusted_rand_score(table['group'], found):.3f}")
    quality = np.array([list(measure_quality(image).values()) for image in images])
    looks = np.stack([colour_and_texture(image) for image in images])
    features = np.concatenate([looks, quality], axis=1)
    print(f"{'divided by':14} {'accuracy':>8}   lowest to highest of {REPEATS}")
    for by, groups in {"image": None, "cluster": found, "photograph": table["group"]}.items():
        share = accuracies(features, labels, groups)
        print(f"{by:14} {share.mean():8.1%}   {share.min():.1%} to {share.max():.1%}")


if __name__ == "__main__":
    main()
