"""Recipes of fine-tuning against frozen features, in folds by whole groups.

Reads what `split` wrote. The frozen model is that of the pipeline in two views, without restained
images. Each recipe starts from its backbone and from its head solved to the optimum (linear
probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054), trains on all images outside the
fold, restained ones included, and is asked as it is, with a head solved anew on the tuned features,
and with the mean of tuned and frozen weights (Wortsman et al. 2022, arXiv 2109.01903). Rates and
steps are fixed beforehand; inner folds choose the penalty of the frozen model, which all use.

Maps below the trained layers are computed once for all folds, and kept in `--cache` with the
answers, so that an interrupted run is continued. Seconds are of the processor, for one fold, from
images to answers. `--whole` is for sources without a test set.

Run: python -m benchmarks.finetune --cache /tmp/finetune --groups colour
Expected: see benchmarks/results/finetune.md.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from benchmarks.ablation import cluster_colours
from tissue.common.augmentation import dihedral
from tissue.common.runtime import set_up
from tissue.common.stains import augment_stains
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_split
from tissue.metrics.intervals import Sampling, mean_interval
from tissue.metrics.paired import mean_flip_test

FOLDS, VIEWS, BATCH = 5, 2, 32
LAYERS = 15  # of the backbone that are trained, from the top: two blocks and what follows
STEPS, CROPS = 50, 2  # of training; and crops of an image in each
AVERAGE = 0.75  # last share of the epochs, over whose steps weights are averaged
Rows = NDArray[np.int64]
Images = NDArray[Any]  # (N, views or crops, ...), pixels or maps


class Recipe(NamedTuple):
    """The rate of Adam, and whether kernels are trained as well as biases."""

    rate: float
    kernels: bool = True


RECIPES = {
    "two blocks, rate 0.0001": Recipe(1e-4),
    # As batch normalisation is folded into the convolutions, these are its shifts.
    "biases of two blocks, rate 0.001": Recipe(1e-3, kernels=False),
}


def pool(data: Path, *, splits: Sequence[str], groups: str) -> Dataset:
    """Return splits as one data set with crops, sorted by id, groups in the column `group`."""
    parts = [read_split(data, name) for name in splits]
    index = pd.concat([part.index for part in parts], ignore_index=True)
    order = np.argsort(index["id"].to_numpy(str))
    images = np.concatenate([part.images for part in parts])[order]
    crops = np.concatenate([part.crops for part in parts if part.crops is not None])[order]
    index = index.iloc[order].reset_index(drop=True)
    if groups == "colour":
        index["group"] = cluster_colours(images, index["label"].to_numpy())
    return Dataset(images, index, crops)


def copies_of(data: Dataset, params: Params) -> list[Images]:
    """Return views and crops of the images as they are, then those of restained ones."""
    images, crops = np.asarray(data.images), np.asarray(data.crops)
    how: dict[str, Any] = {"jitter": params.pretrained.stain_jitter, "seed": params.seed}
    (restained,) = augment_stains(images, crops, stainings=1, **how)
    views = np.stack([dihedral(images, view) for view in range(VIEWS)], axis=1)
    return [views, crops, restained[0][:, None], np.asarray(restained[1])]


def run(network: Any, images: Images) -> Images:
    """Return what a network gives for images (N, V, ...), in batches of images."""
    parts = []
    for at in range(0, len(images), BATCH):
        batch = np.asarray(images[at : at + BATCH])
        parts.append(network.predict_on_batch(batch.reshape(-1, *batch.shape[2:])))
    flat = np.concatenate(parts)
    return flat.reshape(*images.shape[:2], *flat.shape[1:])


class Cut:
    """The part of a backbone that is trained, and what it is given for all images."""

    def __init__(self, data: Dataset, params: Params, cache: Path) -> None:
        """Compute the maps below the trained layers, or read them from the file `cache`."""
        from tissue.backbones.embedding import load_embedder
        from tissue.training.fine_tuning import unfreeze
        from tissue.training.frozen_maps import cut_below_trained

        backbone = load_embedder(params.pretrained, image_size=data.images.shape[1])
        unfreeze(backbone, LAYERS)
        lower, self.upper = cut_below_trained(backbone)
        self.frozen = self.upper.get_weights()
        if not cache.exists():
            arrays, start = copies_of(data, params), time.process_time()
            maps = [run(lower, each).astype(np.float16) for each in arrays]
            spent = (time.process_time() - start) / sum(len(m) * m.shape[1] for m in maps)
            np.savez(cache, *maps, spent=spent)
        with np.load(cache, allow_pickle=False) as saved:
            views, crops, *restained, self.seconds_below = (saved[k] for k in sorted(saved.files))
        self.copies = [(views, crops), tuple(restained)]

    def features(self, rows: Rows) -> Any:
        """Return features (n, views, 2 D) of some images as they are."""
        whole, crops = (run(self.upper, each[rows]) for each in self.copies[0])
        pooled = np.repeat(crops.mean(axis=1, keepdims=True), whole.shape[1], axis=1)
        return np.concatenate([whole, pooled], axis=2)

    def train(self, head: Any, rows: Rows, labels: Rows, recipe: Recipe, params: Params) -> None:
        """Train it and the head on random views and crops of the rows, whose labels are (n,)."""
        import keras

        from tissue.training.batches import Batches
        from tissue.training.head import join_backbone
        from tissue.training.imbalance import balance_classes
        from tissue.training.loop import FitSettings, Phase, fit

        for layer in self.upper.layers[-1].layers:
            if layer.trainable and layer.weights:
                layer.weights[0].trainable = recipe.kernels
        classes = head.output_shape[-1]
        targets = keras.utils.to_categorical(labels, classes)
        how: dict[str, Any] = {"batch_size": BATCH, "seed": params.seed}
        batches = Batches(rows, targets, **how, transform=self._draw)
        balance = balance_classes(labels, params.class_weights, classes=classes)
        settings = FitSettings(recipe.rate, average=AVERAGE, warm_up=1, balance=balance)
        phase = Phase(max(4, round(STEPS / len(batches))), batches)
        fit(join_backbone(self.upper, head, crops=CROPS), [phase], settings, name="finetune")

    def _draw(self, rows: Rows, rng: np.random.Generator) -> dict[str, Images]:
        drawn: dict[str, list[Images]] = {"image": [], "crops": []}
        for row in rows:
            views, crops = self.copies[rng.integers(len(self.copies))]
            drawn["image"].append(views[row, rng.integers(views.shape[1])])
            drawn["crops"].append(crops[row, rng.permutation(crops.shape[1])[:CROPS]])
        return {name: np.stack(arrays) for name, arrays in drawn.items()}


def run_fold(
    data: Dataset, fold: tuple[Rows, Rows], cut: Cut, recipes: Sequence[str], params: Params
) -> Iterator[tuple[str, NDArray[np.floating], float]]:
    """Yield the name of a method, its probabilities (n, classes) of the test, and its seconds."""
    from tissue.training.cross_fitting import choose_penalty
    from tissue.training.head import fit_head
    from tissue.training.inference import predict_features

    (train, test), labels, start = fold, data.labels, time.process_time()
    halves, classes = np.array_split(train, 2), int(labels.max()) + 1

    def solve() -> Any:
        known = [(cut.features(rows), labels[rows]) for rows in halves]
        with threadpool_limits(1):
            return fit_head(params, known, penalty=choice.penalty, classes=classes)

    def ask(head: Any) -> tuple[NDArray[np.floating], float]:
        answers = predict_features(head, cut.features(test)).mean(axis=1)
        return answers, below + time.process_time() - start

    # All images as they are, and the training images restained for the recipes.
    plain, restained = (sum(each.shape[1] for each in copy) for copy in cut.copies)
    below = cut.seconds_below * plain * len(labels)
    known = [(cut.features(rows), labels[rows]) for rows in halves]
    one, other = (data.index["group"].iloc[rows] for rows in halves)
    with threadpool_limits(1):  # it joins both halves, and divides them into folds by group
        choice = choose_penalty(params, known[:1], known[1], (one, other), classes=classes)
    yield "frozen", *ask(solve())
    below += time.process_time() - start + cut.seconds_below * restained * len(train)
    for name in recipes:
        start, head = time.process_time(), solve()
        before = head.get_weights()
        cut.train(head, train, labels[train], RECIPES[name], params)
        yield name, *ask(head)
        yield f"{name}, head solved", *ask(solve())
        cut.upper.set_weights(_mean(cut.frozen, cut.upper.get_weights()))
        head.set_weights(_mean(before, head.get_weights()))
        yield f"{name}, mean", *ask(head)
        cut.upper.set_weights(cut.frozen)


def _mean(first: list[Images], second: list[Images]) -> list[Images]:
    return [(one + other) / 2 for one, other in zip(first, second, strict=True)]


def table(answers: pd.DataFrame) -> pd.DataFrame:
    """Return a row per method: accuracy, loss, and the difference to the frozen model in points."""
    answers, rows = answers.sort_values(["fold", "id"]), []
    frozen = answers[answers["method"] == "frozen"].set_index("id")["right"]
    for name, part in answers.groupby("method", sort=False):
        right = part["right"].to_numpy(float)
        gaps = 100 * (right - frozen.loc[part["id"]].to_numpy(float))
        rows.append((
            name, len(part), right.mean(), *mean_interval(right, part["group"]),
            part["loss"].mean(), gaps.mean(), *mean_interval(gaps, part["group"]),
            mean_flip_test(gaps, part["group"], sampling=Sampling(2000, 0)),
            part.groupby("fold")["seconds"].first().mean(),
        ))  # fmt: skip
    columns = "method n accuracy low high loss difference from to p seconds"
    return pd.DataFrame(rows, columns=columns.split())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument("--cache", type=Path, required=True, help="folder for maps and answers")
    parser.add_argument("--groups", choices=["given", "colour"], default="given")
    parser.add_argument("--whole", action="store_true", help="with the test images of split")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    chosen = parser.parse_args(arguments)
    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    chosen.cache.mkdir(parents=True, exist_ok=True)
    splits = ["train", "val", *(["test"] if chosen.whole else [])]
    data = pool(chosen.data, splits=splits, groups=chosen.groups)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=params.seed)
    folds = list(splitter.split(data.labels, data.labels, data.index["group"]))
    cut, path = Cut(data, params, chosen.cache / "maps.npz"), chosen.cache / "answers.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["fold", "method"])
    for number in range(FOLDS):
        known, test = set(done.loc[done["fold"] == number, "method"]), folds[number][1]
        recipes = [name for name in chosen.only if name not in known]
        if not recipes:
            continue
        for name, answers, seconds in run_fold(data, folds[number], cut, recipes, params):
            of_label = answers[np.arange(len(test)), data.labels[test]]
            rows = data.index[["id", "class", "group"]].iloc[test].assign(
                fold=number, method=name, right=answers.argmax(axis=1) == data.labels[test],
                loss=-np.log(np.maximum(of_label, 1e-7)), seconds=seconds,
            )  # fmt: skip
            done = done if name in known else pd.concat([done, rows], ignore_index=True)
        done.to_csv(path, index=False)
    print(table(done).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    with command("finetune"):
        main()
