"""Our models against common baselines, on the same split, machine and run.

`ours_scratch` and `ours_pretrained` are the stages themselves with the parameters of params.yaml
and the changes of `--set`, run in a temporary folder. `benchmarks.baselines` describes the others:
the original recipe from scratch and pretrained, a plain linear probe, the Keras guide before and
after fine-tuning, and colour histograms with an SVM. All pretrained ones use the same backbone with
the same weights, and all train on the training set; only ours use the validation set, and the crops
of `split.crops` at a higher magnification.

Accuracy is the mean over the seeds, with an interval that knows donors and antibodies. The paired
test is that of sign flips by donor; McNemar's exact test over images, of which one is right for a
method if more than half of its seeds are, stands beside it. Seconds are the mean over the seeds,
from images in memory to predictions (ours: the stages that train, embedding included, without
evaluation), with TensorFlow imported before.

Run: python -m benchmarks.accuracy --data data/split --weights packaged
Expected on the default phantom and on real tiles: see benchmarks/results/accuracy.md.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from tqdm import tqdm

from tissue.common.files import file_digest
from tissue.common.runtime import set_up
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_split
from tissue.experiments.grid import parse_grid
from tissue.metrics.intervals import Sampling, mean_interval, share_interval
from tissue.metrics.paired import mean_flip_test

METHODS = (
    "ours", "original_scratch", "original_pretrained", "linear_probe", "guide", "histogram_svm",
)  # fmt: skip
RESAMPLES = 2000
COLUMNS = "method accuracy low high seed_low seed_high n seconds"
AGAINST = "ours other difference low high only_ours only_other mcnemar p_value"
Answers = Mapping[str, tuple[NDArray[np.int64], float]]


def ours(data: Path, params: Params, *, seed: int, weights: str) -> Answers:
    """Run the stages on `data` in a temporary folder; return labels and seconds of both models."""
    from stages import embed, train_pretrained, train_scratch
    from tissue.training.inference import predict_embedded_splits, predict_splits
    from tissue.training.saving import load_model

    values = params.model_dump()
    values["seed"], values["pretrained"]["weights"] = seed, weights
    if weights.endswith(".weights.h5"):
        values["pretrained"]["sha256"] = file_digest(Path(weights))
    params = Params.model_validate(values)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "data").mkdir()
        (work / "data/split").symlink_to(data.resolve())
        seconds = {
            "scratch": _time(train_scratch.run, params, work),
            "pretrained": _time(embed.run, params, work)
            + _time(train_pretrained.run, params, work),
        }
        models = {name: load_model(work / f"data/models/{name}.keras") for name in seconds}
        test, views = {"test": read_split(data, "test")}, params.scratch.views
        probabilities = {
            "scratch": predict_splits(models["scratch"], test, views=views),
            "pretrained": predict_embedded_splits(models["pretrained"], test, work / "data/embed"),
        }
    return {
        f"ours_{name}": (by_split["test"].mean(axis=1).argmax(axis=1), seconds[name])
        for name, by_split in probabilities.items()
    }


def answers_of(method: str, data: Path, *, params: Params, seed: int, weights: str) -> Answers:
    """Train a method with a seed; return labels of the test set and seconds of its models."""
    if method == "ours":
        return ours(data, params, seed=seed, weights=weights)
    from benchmarks import baselines
    from tissue.backbones.build import build_backbone

    set_up(seed=seed, threads=params.threads)
    train, test = read_split(data, "train"), np.asarray(read_split(data, "test").images)

    def network() -> baselines.keras.Model:
        key, side = params.pretrained.backbone, test.shape[1]
        return build_backbone(key, image_size=side, weights=weights)

    run: dict[str, Callable[[], Answers]] = {
        "original_scratch": lambda: baselines.original_scratch(train, test),
        "original_pretrained": lambda: baselines.original_pretrained(train, test, network=network),
        "linear_probe": lambda: baselines.linear_probe(train, test, network=network),
        "guide": lambda: baselines.guide(train, test, network=network, seed=seed),
        "histogram_svm": lambda: baselines.histogram_svm(train, test),
    }
    return run[method]()


def measure(
    data: Path, methods: Iterable[str], *, params: Params, seeds: Iterable[int], weights: str
) -> tuple[pd.DataFrame, dict[str, NDArray[np.bool_]]]:
    """Return one row per model, and for each model whether it is right, bool (seeds, N)."""
    import keras

    test = read_split(data, "test")
    right: dict[str, list[NDArray[np.bool_]]] = {}
    seconds: dict[str, list[float]] = {}
    runs = [(method, seed) for method in methods for seed in seeds]
    for method, seed in tqdm(runs, desc=str(data), unit="run", disable=None):
        keras.backend.clear_session()
        answers = answers_of(method, data, params=params, seed=seed, weights=weights)
        for name, (predicted, spent) in answers.items():
            right.setdefault(name, []).append(predicted == test.labels)
            seconds.setdefault(name, []).append(spent)
    arrays = {name: np.stack(rows) for name, rows in right.items()}
    rows = [_row(name, array, seconds[name], test) for name, array in arrays.items()]
    return pd.DataFrame(rows, columns=COLUMNS.split()), arrays


def against(right: dict[str, NDArray[np.bool_]], groups: pd.Series) -> pd.DataFrame:
    """Compare each of our models with each other one; differences are in percentage points."""
    return pd.DataFrame(list(_pairs(right, groups)), columns=AGAINST.split())


def _pairs(right: dict[str, NDArray[np.bool_]], groups: pd.Series) -> Iterator[tuple]:
    for name in (name for name in right if name.startswith("ours_")):
        for other in (other for other in right if not other.startswith("ours_")):
            gaps = 100 * (right[name].mean(0) - right[other].mean(0))
            low, high = mean_interval(gaps, groups)
            a, b = (right[key].mean(0) > 0.5 for key in (name, other))
            only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
            p_value = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
            flips = mean_flip_test(gaps, groups, sampling=Sampling(RESAMPLES, 0))
            yield name, other, gaps.mean(), low, high, only_a, only_b, p_value, flips


def _row(name: str, right: NDArray[np.bool_], seconds: list[float], test: Dataset) -> tuple:
    low, high = share_interval(right.mean(0), test.index)
    by_seed = right.mean(1)
    spread = by_seed.min(), by_seed.max()
    return name, right.mean(), low, high, *spread, right.shape[1], np.mean(seconds)


def _time(stage: Callable[[Params, Path], None], params: Params, root: Path) -> float:
    start = time.perf_counter()
    stage(params, root)
    return time.perf_counter() - start


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="key=value", help="instead of params.yaml"
    )
    parser.add_argument(
        "--weights", default="packaged", help="of the backbone: packaged, imagenet or a file"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    chosen = parser.parse_args(arguments)
    changes = parse_grid(chosen.set)
    if len(changes) != 1:
        parser.error(f"--set: expected one value per key. Received: {' '.join(chosen.set)}")
    chosen.set = changes[0]
    return chosen


def main() -> None:
    """Print a table of all models and one of ours against the others."""
    chosen = parse()
    params = load_params(changes=chosen.set)
    set_up(seed=params.seed, threads=params.threads)  # imports TensorFlow before time is taken
    seeds = range(params.seed, params.seed + chosen.seeds)
    table, right = measure(
        chosen.data, chosen.only, params=params, seeds=seeds, weights=chosen.weights
    )
    print(table.to_string(index=False, float_format="{:.3f}".format))
    pairs = against(right, read_split(chosen.data, "test").index["group"])
    print(pairs.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    with command("accuracy"):
        main()
