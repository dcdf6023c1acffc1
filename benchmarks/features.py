"""Frozen features compared by cross-validation over groups: backbones, strides, views and crops.

Reads the training and validation set written by `split`; no test image is used. Each backbone runs
once per stride over the views and crops, as in `embed`; then logistic regression on standardised
features is fitted for every setting, each view an example of its own. Its penalty is the best of
four, chosen alike for all settings. Images of one group are in one fold.

Run: python -m benchmarks.features --data data/split --networks efficientnet_lite0:packaged
Expected: see benchmarks/results/features.md; 16 passes of each backbone per image, then minutes.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from tissue.common.runtime import quiet_import
from tissue.config.command import command
from tissue.data.index import Dataset, read_split
from tissue.metrics.intervals import Sampling, mean_interval

PENALTIES = (0.3, 0.1, 0.03, 0.01)  # on half the squared coefficients, beside the mean loss
STRIDES = (16, 32)
VIEWS = 4
Features = NDArray[np.float32]


class Embedded(NamedTuple):
    """Features of images whole (N, V, D) and of the mean of their crops (N, 1, D), and seconds."""

    whole: Features
    crops: Features
    seconds: float


def embed(dataset: Dataset, key: str, weights: str, stride: int) -> Embedded:
    """Run a backbone over four views and all crops of the images."""
    with quiet_import():
        from tissue.backbones.build import build_backbone
        from tissue.backbones.embedding import embed_batch

    network = build_backbone(
        key, image_size=dataset.images.shape[1], weights=weights, strides=[stride]
    )
    start, parts = time.perf_counter(), []
    for first in tqdm(range(0, len(dataset.images), 32), desc=f"{key} {stride}", unit="batch"):
        rows = slice(first, first + 32)
        crops = None if dataset.crops is None else np.asarray(dataset.crops[rows])
        parts.append(embed_batch(network, np.asarray(dataset.images[rows]), crops, views=VIEWS))
    features, width = np.concatenate(parts), network.output_shape[-1]
    seconds = time.perf_counter() - start
    return Embedded(features[..., :width], features[:, :1, width:], seconds)


def cross_validate(
    features: Features, labels: NDArray[np.int64], groups: pd.Series, *, folds: int, seed: int
) -> tuple[NDArray[np.bool_], float]:
    """Return which of N images are right, and the mean loss, of the penalty with the most right."""
    views, classes = features.shape[1], int(labels.max()) + 1
    probabilities = np.zeros((len(PENALTIES), len(labels), classes))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(labels, labels, groups):
        rows, answers = features[train].reshape(-1, features.shape[-1]), labels[train].repeat(views)
        scaler = StandardScaler().fit(rows)
        unseen = scaler.transform(features[test].reshape(-1, features.shape[-1]))
        model = LogisticRegression(warm_start=True, max_iter=200)
        for number, penalty in enumerate(PENALTIES):
            model.set_params(C=1 / (penalty * len(rows))).fit(scaler.transform(rows), answers)
            each = model.predict_proba(unseen).reshape(len(test), views, -1)
            probabilities[number][np.ix_(test, model.classes_)] = each.mean(axis=1)
    right = probabilities.argmax(axis=2) == labels
    best = int(right.mean(axis=1).argmax())
    of_label = probabilities[best][np.arange(len(labels)), labels]
    return right[best], float(-np.log(of_label + 1e-9).mean())


def settings(embedded: dict[int, Embedded]) -> Iterator[tuple[str, Features, float]]:
    """Yield the name of each setting, its features (N, views, D), and the seconds to embed them."""
    combinations = [[stride] for stride in embedded]
    if len(embedded) > 1:
        combinations.append(list(embedded))
    for strides, views, crops in itertools.product(combinations, (1, 2, VIEWS), (False, True)):
        chosen = [embedded[stride] for stride in strides]
        if crops and not chosen[0].crops.shape[-1]:
            continue
        parts = [one.whole[:, :views] for one in chosen]
        parts += [one.crops.repeat(views, axis=1) for one in chosen] if crops else []
        name = f"{' + '.join(map(str, strides))} | {views} | {'yes' if crops else 'no'}"
        # Both strides come out of one pass, which is that of the larger.
        yield name, np.concatenate(parts, axis=2), max(one.seconds for one in chosen)


def joined(data: Path) -> Dataset:
    """Return training and validation set as one."""
    splits = [read_split(data, name) for name in ("train", "val")]
    crops = [np.asarray(one.crops) for one in splits if one.crops is not None]
    images = np.concatenate([np.asarray(one.images) for one in splits])
    index = pd.concat([one.index for one in splits], ignore_index=True)
    return Dataset(images, index, np.concatenate(crops) if crops else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row of Markdown per backbone and setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument(
        "--networks", nargs="+", default=["efficientnet_lite0:packaged"], metavar="KEY:WEIGHTS"
    )
    parser.add_argument("--group", default="group", help="column whose values stay in one fold")
    parser.add_argument("--folds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    dataset = joined(chosen.data)
    groups = dataset.index[chosen.group]
    print("| backbone | strides | views | crops | accuracy | 95 % interval | loss | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for key, _, weights in (name.partition(":") for name in chosen.networks):
        embedded = {stride: embed(dataset, key, weights, stride) for stride in STRIDES}
        for name, features, seconds in settings(embedded):
            right, loss = cross_validate(
                features, dataset.labels, groups, folds=chosen.folds, seed=0
            )
            low, high = mean_interval(right, groups, sampling=Sampling(1000, 17))
            print(
                f"| {key} | {name} | {right.mean():.3f} | {low:.3f} to {high:.3f} | {loss:.3f} | "
                f"{seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    with command("features"):
        main()
