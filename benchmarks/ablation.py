"""Why the network from scratch is as it is: `python -m benchmarks.ablation`.

Changes one setting of params.yaml at a time, and measures it by cross-validation over whole groups
(donors) within the training and validation set; the test set is not used. Accuracy and loss
(negative log-likelihood, without smoothing) are means over all images of the folds; the spread is
the standard deviation of the accuracy over folds and seeds. The interval of the difference from the
default resamples groups.

If a source names no donor or slide, as the tiles, `--groups colour` keeps images of a class with
like colours together, so that a fold tests more than the colour of a slide.

Expected on the default phantom: see benchmarks/results/scratch.md. A fold takes minutes.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.model_selection import StratifiedGroupKFold

from tissue.common.runtime import set_up
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_split
from tissue.metrics.intervals import mean_interval

CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "lr_factor 1": {"lr_factor": 1.0},
    "batches of 16": {"batch_size": 16},
    "width 16": {"width": 16},
    "up to 256 channels": {"max_width": 256},
    "input 112": {"input_size": 112},
    "input 144": {"input_size": 144},
    "no smaller images": {"progressive": []},
    "trained up to the input": {"progressive": [0.5, 0.75, 1.0]},
    "no repeats": {"epoch_images": 0},
    "two thirds of the epochs": {"epochs": 43},
    "no dropout": {"dropout": 0.0},
    "no zoom": {"zoom": 0.0},
    "zoom 0.5": {"zoom": 0.5},
    "no stain jitter": {"stain_jitter": 0.0},
    "stain jitter 0.4": {"stain_jitter": 0.4},
    "no smoothing": {"label_smoothing": 0.0},
    "mean of the last third": {"average": 0.33},
    "one view": {"views": 1},
}
COLOURS = 12  # clusters of a class, if it has twice as many images
COLUMNS = "change accuracy spread loss difference low high seconds parameters"


def pool(data: Path, *, groups: str) -> Dataset:
    """Return training and validation set as one, with whole groups in the column `group`."""
    datasets = [read_split(data, name) for name in ("train", "val")]
    images = np.concatenate([np.asarray(dataset.images) for dataset in datasets])
    index = pd.concat([dataset.index for dataset in datasets], ignore_index=True)
    if groups == "colour":
        index["group"] = cluster_colours(images, index["label"].to_numpy())
    return Dataset(images, index)


def changed(params: Params, change: dict[str, Any]) -> Params:
    """Return parameters with the values of a change, whose keys are of `scratch` or the top."""
    values = params.model_dump()
    for key, value in change.items():
        (values["scratch"] if key in values["scratch"] else values)[key] = value
    return Params.model_validate(values)


def train_in_folds(
    data: Dataset, params: Params, *, folds: list[int], of: int, seeds: int
) -> pd.DataFrame:
    """Return one row per image of a fold and seed: right, loss, group, seconds."""
    from tissue.training.inference import predict_views
    from tissue.training.scratch import train_network

    divider = StratifiedGroupKFold(of, shuffle=True, random_state=params.seed)
    divisions = list(divider.split(data.labels, data.labels, data.index["group"]))
    tables = []
    for seed in range(params.seed, params.seed + seeds):
        seeded = params.model_copy(update={"seed": seed})
        for fold in folds:
            inside, outside = (
                Dataset(data.images[rows], data.index.iloc[rows].reset_index(drop=True))
                for rows in divisions[fold]
            )
            set_up(seed=seed, threads=params.threads)
            start = time.perf_counter()
            classes = int(data.labels.max()) + 1
            network, _ = train_network(seeded, inside, outside, classes=classes)
            seconds = time.perf_counter() - start
            views = predict_views(network, outside, views=params.scratch.views, name=f"fold {fold}")
            predicted = views.mean(axis=1)
            of_label = predicted[np.arange(len(predicted)), outside.labels]
            tables.append(outside.index[["id", "group"]].assign(
                right=predicted.argmax(axis=1) == outside.labels,
                loss=-np.log(np.maximum(of_label, 1e-7)),
                run=f"{seed}/{fold}", seconds=seconds, parameters=network.count_params(),
            ))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def summarise(name: str, table: pd.DataFrame, default: pd.DataFrame) -> tuple:
    """Return a row of the printed table; both tables have the same images in the same order."""
    gaps = 100 * (table["right"].to_numpy(float) - default["right"].to_numpy(float))
    low, high = mean_interval(gaps, table["group"])
    runs = table.groupby("run")
    spread = runs["right"].mean().std(ddof=0)
    return (
        name, table["right"].mean(), spread, table["loss"].mean(), gaps.mean(), low, high,
        runs["seconds"].first().mean(), table["parameters"].iloc[0],
    )  # fmt: skip


def cluster_colours(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return for each of the images (N, S, S, 3) the name of a cluster of its class by colour."""
    pixels = images[:, ::4, ::4].reshape(len(images), -1, 3)
    colours = np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    groups = np.empty(len(labels), dtype="U16")
    for label in np.unique(labels):
        of_class = labels == label
        count = min(COLOURS, int(of_class.sum()) // 2)
        clusters = KMeans(count, n_init=3, random_state=0).fit_predict(colours[of_class])
        groups[of_class] = [f"{label}/{cluster}" for cluster in clusters]
    return groups


def main() -> None:
    """Print one row per change, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument("--groups", choices=["given", "colour"], default="given")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3], help="of --of")
    parser.add_argument("--of", type=int, default=4, help="number of folds")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    chosen = parser.parse_args()
    params, data = load_params(), pool(chosen.data, groups=chosen.groups)
    set_up(seed=params.seed, threads=params.threads)
    how = {"folds": chosen.folds, "of": chosen.of, "seeds": chosen.seeds}
    default = train_in_folds(data, params, **how)
    print(f"{'change':<24}" + "".join(f"{name:>11}" for name in COLUMNS.split()[1:]))
    for name in chosen.only:
        change = CHANGES[name]
        table = train_in_folds(data, changed(params, change), **how) if change else default
        first, *numbers, parameters = summarise(name, table, default)
        values = "".join(f"{value:>11.3f}" for value in numbers)
        print(f"{first:<24}{values}{parameters:>11}", flush=True)


if __name__ == "__main__":
    with command("ablation"):
        main()
