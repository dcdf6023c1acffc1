"""Classes of unequal size: recall of small and large classes with each `class_weights`.

Cross-validates the head on cached features, by donor, over training and validation. In the training
part of each fold a random half of the classes is cut to `--donors` donors each; what is held out
stays as it is. The test set is not read. Beside balanced accuracy, the accuracy that images in the
proportions of training would have.

Run: python -m benchmarks.imbalance
Expected on the default phantom: see benchmarks/results/imbalance.md.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from tissue.common.runtime import set_up
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.features import read_features
from tissue.data.index import read_split
from tissue.data.shards import RowSelection
from tissue.metrics.intervals import mean_interval

HOW = ("none", "balanced", "logit_adjusted")
VIEWS = 2  # of each image, for speed
FOLDS = 4
PENALTY = 0.03  # as cross-validation chooses it on the default phantom


def read(data: Path) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Return some views of the features of training and validation, and the table of images."""
    tables = {name: read_split(data / "split", name).index for name in ("train", "val")}
    features = [
        read_features(rows["id"], name, data / "embed")[:][:, :VIEWS]
        for name, rows in tables.items()
    ]
    return np.concatenate(features), pd.concat(tables.values(), ignore_index=True)


def cut(index: pd.DataFrame, rows: NDArray[np.int64], small: set[int], donors: int) -> list[int]:
    """Return the rows without those of small classes that are not of their first few donors."""
    kept = []
    for label, of_class in index.iloc[rows].groupby("label"):
        few = np.random.default_rng(int(label)).permutation(of_class["group"].unique())[:donors]
        some = of_class[of_class["group"].isin(few)] if label in small else of_class
        kept += some.index.tolist()
    return sorted(kept)


def predict(
    features: NDArray[np.float32], index: pd.DataFrame, small: set[int], params: Params, donors: int
) -> NDArray[np.int64]:
    """Return the class predicted for each image (N,) by a head that saw no image of its donor."""
    from tissue.training.head import fit_head
    from tissue.training.inference import predict_features

    labels, predicted = index["label"].to_numpy(np.int64), np.zeros(len(index), np.int64)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=params.seed)
    for train, held_out in folds.split(labels, labels, index["group"]):
        rows = np.array(cut(index, train, small, donors))
        seen = RowSelection(features, rows), labels[rows]
        head = fit_head(params, [seen], penalty=PENALTY, classes=int(labels.max()) + 1)
        probabilities = predict_features(head, RowSelection(features, held_out))
        predicted[held_out] = probabilities.mean(axis=1).argmax(axis=1)
    return predicted


def measure(data: Path, params: Params, *, donors: int) -> pd.DataFrame:
    """Return one row for each way to make up for unequal classes."""
    features, index = read(data)
    labels = index["label"].to_numpy(np.int64)
    order = np.random.default_rng(params.seed).permutation(labels.max() + 1)
    small = set(order[: len(order) // 2].tolist())
    is_small = np.isin(labels, list(small))
    kept = index[is_small].groupby("label")["group"].nunique().mean() * (FOLDS - 1) / FOLDS
    weights, rows = np.where(is_small, donors / kept, 1.0), []
    first = np.zeros(0)
    for how in HOW:
        changed = params.model_copy(update={"class_weights": how})
        predicted = predict(features, index, small, changed, donors)
        right = (predicted == labels).astype(float)
        first = right if how == HOW[0] else first
        low, high = mean_interval(right - first, index["group"])
        rows.append({
            "class_weights": how, "small": right[is_small].mean(), "large": right[~is_small].mean(),
            "all": right.mean(), "gain": (right - first).mean(), "low": low, "high": high,
            "macro_f1": f1_score(labels, predicted, average="macro"),
            "as_in_training": np.average(right, weights=weights),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="with split and embed")
    parser.add_argument("--donors", type=int, default=2, help="of each small class in training")
    arguments = parser.parse_args()
    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    table = measure(arguments.data, params, donors=arguments.donors)
    print(table.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    with command("imbalance"):
        main()
