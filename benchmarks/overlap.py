"""Is only a real shift between training and test noticed? `python -m benchmarks.overlap`.

Reads `data/split`, `data/embed` and the backbone in `data/models/pretrained.keras` and changes
nothing there. Without a shift: training and test of the phantom are divided again by donor, 20
times. With a shift: all test images get a third more haematoxylin and are embedded again, without
crops.

Expected on the default phantom: p > 0.05 in 19 of 20 divisions or more; p < 0.01 with the shift.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tissue.common.runtime import quiet_import
from tissue.common.stains import empty_slide, scale_stains
from tissue.config.loading import load_params
from tissue.data.features import joint_features, joint_index
from tissue.data.index import read_split
from tissue.data.shards import read_array
from tissue.metrics.overlap import joint_p_value, measure_overlap
from tissue.metrics.projection import principal_components

SPLIT, EMBED = Path("data/split"), Path("data/embed")
DIVISIONS = 20
STRONGER = (1.33, 1.0, 1.0)


def redivide(index: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the index with other test donors, but as many of each class as before."""
    rng = np.random.default_rng(seed)
    donors = index.groupby("group").agg({"class": "first", "split": "first"})
    split = donors.groupby("class")["split"].transform(rng.permutation)
    return index.assign(split=index["group"].map(split))


def restained_features(width: int) -> NDArray[np.float32]:
    """Return features (N, width) of the test images with more haematoxylin, of the first view."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["KERAS_BACKEND"] = "3", "tensorflow"
    with quiet_import():
        from tissue.training.saving import load_model

    images = np.asarray(read_split(SPLIT, "test").images)
    backbone = load_model(Path("data/models/pretrained.keras")).get_layer("backbone")
    by = np.array(STRONGER, np.float32)
    restained = np.stack([scale_stains(image, by, empty_slide(image)) for image in images])
    return backbone.predict(restained, verbose=0)[:, :width]


def main() -> None:
    """Print both results."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    params = load_params()
    settings = params.tsne.model_dump(include={"neighbours", "random_splits"})
    settings["seed"] = params.seed
    index = joint_index(SPLIT, max_images=params.tsne.max_images, seed=params.seed)
    points = principal_components(joint_features(index, EMBED))
    found = [
        joint_p_value(measure_overlap(points, redivide(index, division), **settings))
        for division in range(DIVISIONS)
    ]
    quiet = sum(p > 0.05 for p in found)
    print(f"no shift: p > 0.05 in {quiet} of {DIVISIONS} divisions, lowest {min(found):.3f}")

    train = np.asarray(read_array(EMBED / "train.npy"))[:, 0]
    test = restained_features(train.shape[1])
    features = np.concatenate([train[:, : test.shape[1]], test])
    standardised = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)
    measured = measure_overlap(principal_components(standardised), index, **settings)
    for name, values in measured.items():
        print(
            f"stained: {name} {values['real']:.2f}, random splits {values['random_low']:.2f} to "
            f"{values['random_high']:.2f}, p = {values['p_value']:.4f}"
        )
    print(f"stained: p = {joint_p_value(measured):.4f} of all three")


if __name__ == "__main__":
    main()
