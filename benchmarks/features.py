"""Frozen features compared by cross-validation over groups: backbones, strides, views and crops.

Reads the training and validation set written by `split`; no test image is used. Each backbone runs
once per stride over the views and crops, as in `embed`; then the head of the pipeline is fitted
for every setting, without restained images. Its penalty is the best of those that the pipeline
tries, chosen alike for all settings. Images of one group are in one fold.

`a+b` stands for two backbones whose features follow each other; each runs only once.

Run: make sweep PRESET=backbones, or python -m benchmarks.features --networks mobilenet_v2:imagenet
Expected: see benchmarks/results/features.md; 16 passes of each backbone per image, then minutes.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from tissue.common.backbones import PACKAGED, packaged_file
from tissue.common.runtime import quiet_import
from tissue.config.command import command
from tissue.data.index import Dataset, read_split
from tissue.metrics.intervals import mean_interval

PAIRS = tuple(map("+".join, itertools.combinations(PACKAGED, 2)))
STRIDES = (16, 32)
VIEWS = 4
Features = NDArray[np.float32]


class Embedded(NamedTuple):
    """Features of images whole (N, V, D) and of the mean of their crops (N, 1, D).

    Each image has so many crops, and all passes took so many seconds.
    """

    whole: Features
    crops: Features
    crop_count: int
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
    count = 0 if dataset.crops is None else dataset.crops.shape[1]
    return Embedded(features[..., :width], features[:, :1, width:], count, seconds)


def join(parts: Sequence[Embedded]) -> Embedded:
    """Return the features of backbones one after the other, and the seconds of all."""
    whole, crops = (np.concatenate(arrays, axis=2) for arrays in list(zip(*parts, strict=True))[:2])
    return Embedded(whole, crops, parts[0].crop_count, sum(one.seconds for one in parts))


def split_name(name: str) -> tuple[list[str], str]:
    """Return the backbones and the weights of `a:weights` or `a+b:weights`."""
    keys, _, weights = name.partition(":")
    return keys.split("+"), weights


def fit_best_penalty(
    features: Features, labels: NDArray[np.int64], groups: pd.Series, *, folds: int, seed: int
) -> tuple[NDArray[np.bool_], float]:
    """Return which of N images are right, and the mean loss, of the penalty with the most right."""
    with quiet_import():
        from tissue.training.cross_fitting import PENALTIES
        from tissue.training.head import fit_path
        from tissue.training.imbalance import Balance

    classes = int(labels.max()) + 1
    probabilities = np.zeros((len(PENALTIES), len(labels), classes))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(labels, labels, groups):
        means = features[train].mean(axis=1, dtype=np.float64)
        fits = fit_path(means, labels[train], PENALTIES, balance=Balance(), classes=classes)
        for number, fit in enumerate(fits):
            probabilities[number][test] = fit.predict(features[test]).mean(axis=1)
    right = probabilities.argmax(axis=2) == labels
    best = int(right.mean(axis=1).argmax())
    of_label = probabilities[best][np.arange(len(labels)), labels]
    return right[best], float(-np.log(of_label + 1e-9).mean())


class Setting(NamedTuple):
    """What is embedded of each image, as (N, views, D), and the seconds this took."""

    strides: list[int]
    views: int
    crops: bool
    features: Features
    seconds: float


def settings(embedded: dict[int, Embedded]) -> Iterator[Setting]:
    """Yield the settings that one run of a backbone per stride makes possible."""
    combinations = [[stride] for stride in embedded]
    if len(embedded) > 1:
        combinations.append(list(embedded))
    for strides, views, crops in itertools.product(combinations, (1, 2, VIEWS), (False, True)):
        chosen = [embedded[stride] for stride in strides]
        if crops and not chosen[0].crops.shape[-1]:
            continue
        parts = [one.whole[:, :views] for one in chosen]
        parts += [one.crops.repeat(views, axis=1) for one in chosen] if crops else []
        # Both strides come out of one pass, which is that of the larger.
        passes = (views + crops * chosen[0].crop_count) / (VIEWS + chosen[0].crop_count)
        seconds = passes * max(one.seconds for one in chosen)
        yield Setting(strides, views, crops, np.concatenate(parts, axis=2), seconds)


def joined(data: Path) -> Dataset:
    """Return training and validation set as one."""
    splits = [read_split(data, name) for name in ("train", "val")]
    crops = [np.asarray(one.crops) for one in splits if one.crops is not None]
    images = np.concatenate([np.asarray(one.images) for one in splits])
    index = pd.concat([one.index for one in splits], ignore_index=True)
    return Dataset(images, index, np.concatenate(crops) if crops else None)


def measure(
    dataset: Dataset, networks: Sequence[str], groups: pd.Series, *, folds: int
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yield a row of the table for each network and setting, and the parameters that set it."""
    done: dict[tuple[str, str], dict[int, Embedded]] = {}
    for name in networks:
        keys, weights = split_name(name)
        for key in keys:
            if (key, weights) not in done:
                done[key, weights] = {at: embed(dataset, key, weights, at) for at in STRIDES}
        each = [done[key, weights] for key in keys]
        for one in settings({at: join([of[at] for of in each]) for at in STRIDES}):
            with threadpool_limits(1):  # in many short sums, several threads mostly wait
                right, loss = fit_best_penalty(
                    one.features, dataset.labels, groups, folds=folds, seed=0
                )
            low, high = mean_interval(right, groups)
            strides, crops = " + ".join(map(str, one.strides)), "yes" if one.crops else "no"
            row = [
                " + ".join(keys), strides, str(one.views), crops, f"{right.mean():.3f}",
                f"{low:.3f} to {high:.3f}", f"{loss:.3f}", f"{one.seconds:.0f}",
            ]  # fmt: skip
            changes = {
                "pretrained.backbone": keys[0] if len(keys) == 1 else f"[{','.join(keys)}]",
                "pretrained.weights": weights,
                "advanced.pretrained.strides": str(one.strides).replace(" ", ""),
                "pretrained.views": one.views,
            }  # fmt: skip
            if not one.crops:
                changes["advanced.split.crops.count"] = 0
            yield row, changes


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row of Markdown per network and setting, and the command that runs the best."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument(
        "--networks", nargs="+", metavar="KEY:WEIGHTS",
        default=[f"{key}:packaged" for key in (*PACKAGED, *PAIRS)],
        help="all with packaged weights, and pairs of them",
    )  # fmt: skip
    parser.add_argument("--group", default="group", help="column whose values stay in one fold")
    parser.add_argument("--folds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    for keys, weights in map(split_name, chosen.networks):
        for key in keys if weights == "packaged" else []:
            packaged_file(key)  # else the last network would fail after minutes
    dataset = joined(chosen.data)
    print("| backbone | strides | views | crops | accuracy | 95 % interval | loss | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    measured = []
    for row, changes in measure(
        dataset, chosen.networks, dataset.index[chosen.group], folds=chosen.folds
    ):
        print(f"| {' | '.join(row)} |", flush=True)
        measured.append((float(row[4]), -float(row[6]), changes))
    *_, best = max(measured, key=lambda one: one[:2])
    options = " ".join(f"-S '{key}={value}'" for key, value in best.items())
    print(f"\nThe highest accuracy, of these the lowest loss: dvc exp run {options}")


if __name__ == "__main__":
    with command("features"):
        main()
