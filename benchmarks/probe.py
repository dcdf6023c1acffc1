"""Frozen linear probe: a linear classifier of a backbone's features.

Reads the training and test set written by `split`. Fits logistic regression to standardised pooled
features of one view; its strength is chosen by cross-validation within the training set, by group.

Run: python -m benchmarks.probe --data data/split --weights packaged random
Expected with efficientnet_lite0 on the default phantom: 0.722 on 360 test images.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from tissue.common.runtime import quiet_import
from tissue.config.command import command
from tissue.data.index import Dataset, read_split
from tissue.data.shards import Array, Shards
from tissue.metrics.intervals import Interval, share_interval

STRENGTHS = (1e-3, 1e-2, 1e-1)  # inverse regularisation, tried in this order


def embed(images: Array | Shards, *, backbone: str, weights: str) -> NDArray[np.float32]:
    """Return the pooled features of every image, float32 (N, D)."""
    with quiet_import():
        import keras

        from tissue.backbones.build import build_backbone

    keras.utils.set_random_seed(0)  # of the random weights
    network = build_backbone(backbone, image_size=images.shape[1], weights=weights)
    starts = tqdm(range(0, len(images), 32), desc=Path(weights).name, unit="batch")
    batches = [network.predict_on_batch(images[i : i + 32].astype(np.float32)) for i in starts]
    return np.concatenate(batches)


def fit(features: NDArray[np.float32], train: Dataset) -> Pipeline:
    """Return the fitted linear classifier."""
    groups = train.index["group"]
    folds = StratifiedGroupKFold(min(4, groups.nunique())).split(features, train.labels, groups)
    classifier = LogisticRegressionCV(
        Cs=list(STRENGTHS), cv=list(folds), scoring="accuracy", l1_ratios=(0.0,), max_iter=100,
        tol=1e-2, use_legacy_attributes=False,
    )  # fmt: skip
    return make_pipeline(StandardScaler(), classifier).fit(features, train.labels)


def probe(data: Path, *, backbone: str, weights: str) -> tuple[float, Interval, int]:
    """Return the accuracy on the test set, its 95 % interval by group, and the number of images."""
    train, test = read_split(data, "train"), read_split(data, "test")
    settings = {"backbone": backbone, "weights": weights}
    classifier = fit(embed(train.images, **settings), train)
    right = classifier.predict(embed(test.images, **settings)) == test.labels
    interval = share_interval(right, test.index)
    return float(right.mean()), interval, len(right)


def main() -> None:
    """Print one line per set of weights."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what `split` wrote")
    parser.add_argument("--backbone", default="efficientnet_lite0", help="a key of the backbones")
    parser.add_argument(
        "--weights", nargs="+", default=["random", "packaged"],
        help="packaged, random, imagenet or paths of .weights.h5 files",
    )  # fmt: skip
    arguments = parser.parse_args()
    lines = []
    for weights in arguments.weights:
        accuracy, (low, high), count = probe(
            arguments.data, backbone=arguments.backbone, weights=weights
        )
        lines.append(f"{weights:<50} {accuracy:8.3f} {low:8.3f} {high:8.3f} {count:6d}")
    print(f"{'weights':<50} {'accuracy':>8} {'low':>8} {'high':>8} {'n':>6}")
    print("\n".join(lines))


if __name__ == "__main__":
    with command("probe"):
        main()
