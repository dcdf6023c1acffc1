"""Why the network from scratch is as it is: `python -m benchmarks.ablation`.

Changes one setting of params.yaml at a time and trains. What a change does is measured inside the
training and validation part alone: by cross-validation over whole groups (donors), so that all
their images have a say and the test part none. Accuracy and loss (negative log-likelihood, without
smoothing) are means over all images of the folds; the spread is the standard deviation of the
accuracy over the folds and seeds. Changes are compared with the default by images: the interval of
the difference resamples groups.

Where a source tells no donor or slide, as the tiles, `--groups colour` keeps like-coloured images
of a class together, so that a fold asks for more than the colour of a slide.

Expected on the default phantom: see docs/models.md. A row takes minutes a fold on two cores.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.model_selection import StratifiedGroupKFold

from tissue.common.runtime import quiet_import
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_split
from tissue.metrics.intervals import Sampling, mean_interval

CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "lr_factor 1": {"lr_factor": 1.0},
    "batches of 16": {"batch_size": 16},
    "one stem layer": {"stem_layers": 1},
    "three stem layers": {"stem_layers": 3},
    "stem of 32": {"stem_width": 32},
    "width 16": {"width": 16},
    "up to 256 channels": {"max_width": 256},
    "average and maximum": {"pooling": "average_max"},
    "all blocks pooled": {"pooling": "all_blocks"},
    "input 96": {"input_size": 96},
    "input 144": {"input_size": 144},
    "no smaller images first": {"progressive": []},
    "two thirds of the epochs": {"epochs": 33},
    "no dropout": {"dropout": 0.0},
    "no zoom": {"zoom": 0.0},
    "zoom 0.5": {"zoom": 0.5},
    "no stain jitter": {"stain_jitter": 0.0},
    "stain jitter 0.4": {"stain_jitter": 0.4},
    "mixup 0.2": {"mixup": 0.2},
    "no smoothing": {"label_smoothing": 0.0},
    "weight decay 0.05": {"weight_decay": 0.05},
    "mean of the last third": {"average": 0.33},
    "cosine and best epoch": {"average": 0.0},
    "one view": {"views": 1},
}
COLOURS = 12  # clusters of a class, where it has twice as many images
COLUMNS = "change accuracy spread loss difference low high seconds parameters"


def pool(data: Path, *, groups: str) -> Dataset:
    """Return training and validation part as one, with whole groups in the column `group`."""
    parts = [read_split(data, name) for name in ("train", "val")]
    images = np.concatenate([np.asarray(part.images) for part in parts])
    index = pd.concat([part.index for part in parts], ignore_index=True)
    if groups == "colour":
        index["group"] = _colours(images, index["label"].to_numpy())
    return Dataset(images, index)


def changed(params: Params, change: dict[str, Any]) -> Params:
    """Return parameters with the values of a change, whose keys are of `scratch` or the top."""
    known = type(params.scratch).model_fields
    inner = {key: value for key, value in change.items() if key in known}
    outer = {key: value for key, value in change.items() if key not in known}
    scratch = params.scratch.model_copy(update=inner)
    return Params.model_validate(params.model_dump() | {"scratch": scratch.model_dump()} | outer)


def cross_validate(
    data: Dataset, params: Params, *, folds: list[int], of: int, seeds: int
) -> pd.DataFrame:
    """Train on all but a fold; a row an image of a fold and seed: right, loss, group, seconds."""
    from stages.train_scratch import train
    from tissue.common.runtime import set_up
    from tissue.training.inference import predict_views

    divider = StratifiedGroupKFold(of, shuffle=True, random_state=params.seed)
    divisions = list(divider.split(data.labels, data.labels, data.index["group"]))
    tables = []
    for seed in range(params.seed, params.seed + seeds):
        for fold in folds:
            inside, outside = (_rows(data, rows) for rows in divisions[fold])
            set_up(seed=seed, threads=params.threads)
            start = time.perf_counter()
            network, _ = train(
                # With average 0 the epoch is chosen by the fold that is measured, which favours it.
                params.scratch,
                inside, outside,
                classes=int(data.labels.max()) + 1, seed=seed, lr=params.lr,
                batch_size=params.batch_size,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            predicted = predict_views(
                network, outside, views=params.scratch.views, name=f"fold {fold}"
            ).mean(axis=1)
            of_label = predicted[np.arange(len(predicted)), outside.labels]
            table = outside.index[["id", "group"]].assign(
                right=predicted.argmax(axis=1) == outside.labels,
                loss=-np.log(np.maximum(of_label, 1e-7)),
                run=f"{seed}/{fold}", seconds=seconds, parameters=network.count_params(),
            )  # fmt: skip
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def summarise(name: str, table: pd.DataFrame, default: pd.DataFrame) -> tuple:
    """Return a row of the printed table; both tables have the same images in the same order."""
    gaps = 100 * (table["right"].to_numpy(float) - default["right"].to_numpy(float))
    low, high = mean_interval(gaps, table["group"], sampling=Sampling(2000, 0))
    runs = table.groupby("run")
    spread = runs["right"].mean().std(ddof=0)
    return (
        name, table["right"].mean(), spread, table["loss"].mean(), gaps.mean(), low, high,
        runs["seconds"].first().mean(), table["parameters"].iloc[0],
    )  # fmt: skip


def _rows(data: Dataset, rows: NDArray[np.int64]) -> Dataset:
    return Dataset(data.images[rows], data.index.iloc[rows].reset_index(drop=True))


def _colours(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.str_]:
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
    """Print a row a change, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument("--groups", choices=["given", "colour"], default="given")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3], help="of --of")
    parser.add_argument("--of", type=int, default=4, help="how many folds there are")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    chosen = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_import():
        import tissue.common.runtime  # noqa: F401
    params, data = load_params(), pool(chosen.data, groups=chosen.groups)
    how = {"folds": chosen.folds, "of": chosen.of, "seeds": chosen.seeds}
    default = cross_validate(data, params, **how)
    print(f"{'change':<24}" + "".join(f"{name:>11}" for name in COLUMNS.split()[1:]))
    for name in chosen.only:
        change = CHANGES[name]
        table = cross_validate(data, changed(params, change), **how) if change else default
        first, *numbers = summarise(name, table, default)
        *numbers, parameters = numbers
        values = "".join(f"{value:>11.3f}" for value in numbers)
        print(f"{first:<24}{values}{parameters:>11}", flush=True)


if __name__ == "__main__":
    main()
