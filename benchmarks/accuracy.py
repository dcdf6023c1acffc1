"""Our models against what others do, on the same split, machine and run.

`ours_scratch` and `ours_pretrained` are the stages themselves, run in a temporary folder with the
parameters of params.yaml, so that what is measured is what users get, or with what `--set` changes.
`benchmarks.baselines` says what the others are: the original recipe from scratch and pretrained,
a plain linear probe, the Keras guide before and after fine-tuning, and colour histograms with an
SVM. All pretrained ones use the same backbone with the same weights, and all train on the training
part; the validation part chooses only ours. Ours alone see the crops of `split.crops`, at a higher
magnification.

Accuracy is the mean over the seeds, with an interval that resamples donors. The paired test is
McNemar's, exact, over the test images, each right for a method if more than half of its seeds
are. Seconds are the mean of a seed, from images in memory to predictions (ours: the stages that
train, embedding included, without evaluation), with TensorFlow imported before.

Run: python -m benchmarks.accuracy --data data/split --weights embedded
Expected on the default phantom and on real tiles: see docs/models.md.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from ruamel.yaml import YAML
from scipy.stats import binomtest
from tqdm import tqdm

from tissue.common.files import file_digest
from tissue.common.runtime import quiet_import
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_split
from tissue.experiments.grid import parse_grid
from tissue.metrics.intervals import Sampling, mean_interval

ROOT = Path(__file__).parents[1]
METHODS = (
    "ours", "original_scratch", "original_pretrained", "linear_probe", "guide", "histogram_svm",
)  # fmt: skip
RESAMPLES = 2000
COLUMNS = "method accuracy low high seed_low seed_high n seconds"
AGAINST = "ours other difference low high only_ours only_other p_value"
Answers = dict[str, tuple[NDArray[np.int64], float]]


def ours(data: Path, params: Params, *, seed: int, weights: str) -> Answers:
    """Run the stages from `data` in a temporary folder; labels and seconds of both models."""
    from stages import embed, train_pretrained, train_scratch
    from tissue.training.inference import predict_embedded_splits, predict_splits
    from tissue.training.saving import load_model

    values = params.model_dump()
    values["seed"], values["pretrained"]["weights"] = seed, weights
    if weights.endswith(".weights.h5"):
        values["pretrained"]["sha256"] = file_digest(Path(weights))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "data").mkdir()
        data = data.resolve()
        (work / "data/split").symlink_to(data)
        (work / "pretrain").symlink_to(ROOT / "pretrain")
        YAML().dump(values, work / "params.yaml")
        with chdir(work):
            seconds = {
                "scratch": _time(train_scratch.main),
                "pretrained": _time(embed.main) + _time(train_pretrained.main),
            }
            models = {name: load_model(Path(f"data/models/{name}.keras")) for name in seconds}
            test = {"test": read_split(data, "test")}
            views = values["scratch"]["views"]
            probabilities = {
                "scratch": predict_splits(models["scratch"], test, views=views),
                "pretrained": predict_embedded_splits(
                    models["pretrained"], test, Path("data/embed")
                ),
            }
    return {
        f"ours_{name}": (by_part["test"].argmax(axis=1), seconds[name])
        for name, by_part in probabilities.items()
    }


def answers_of(method: str, data: Path, *, params: Params, seed: int, weights: str) -> Answers:
    """Train a method with a seed and return labels of the test part and seconds of its models."""
    if method == "ours":
        return ours(data, params, seed=seed, weights=weights)
    from benchmarks import baselines
    from tissue.backbones.build import build_backbone
    from tissue.common.runtime import set_up

    set_up(seed=seed, threads=params.threads)
    train, test = read_split(data, "train"), np.asarray(read_split(data, "test").images)

    def network() -> baselines.keras.Model:
        key, side = params.pretrained.backbone, test.shape[1]
        return build_backbone(key, image_size=side, weights=weights)

    run: dict[str, Callable[[], dict[str, baselines.Answer]]] = {
        "original_scratch": lambda: baselines.original_scratch(train, test),
        "original_pretrained": lambda: baselines.original_pretrained(train, test, network=network),
        "linear_probe": lambda: baselines.linear_probe(train, test, network=network),
        "guide": lambda: baselines.guide(train, test, network=network, seed=seed),
        "histogram_svm": lambda: baselines.histogram_svm(train, test),
    }
    return {name: (labels, seconds) for name, (labels, seconds) in run[method]().items()}


def measure(
    data: Path, methods: Iterable[str], *, params: Params, seeds: Iterable[int], weights: str
) -> tuple[pd.DataFrame, dict[str, NDArray[np.bool_]]]:
    """Return a row a model, and for each whether it is right, bool (seeds, N)."""
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
    """Compare our models with each other one: a row a pair, differences in points."""
    return pd.DataFrame(list(_pairs(right, groups)), columns=AGAINST.split())


def _pairs(right: dict[str, NDArray[np.bool_]], groups: pd.Series) -> Iterator[tuple]:
    for name in (name for name in right if name.startswith("ours_")):
        for other in (other for other in right if not other.startswith("ours_")):
            gaps = 100 * (right[name].mean(0) - right[other].mean(0))
            low, high = mean_interval(gaps, groups, sampling=Sampling(RESAMPLES, 0))
            a, b = (right[key].mean(0) > 0.5 for key in (name, other))
            only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
            p_value = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
            yield name, other, gaps.mean(), low, high, only_a, only_b, p_value


def _row(name: str, right: NDArray[np.bool_], seconds: list[float], test: Dataset) -> tuple:
    low, high = mean_interval(right.mean(0), test.index["group"], sampling=Sampling(RESAMPLES, 0))
    by_seed = right.mean(1)
    spread = by_seed.min(), by_seed.max()
    return name, right.mean(), low, high, *spread, right.shape[1], np.mean(seconds)


def _time(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/split"), help="what split wrote")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="key=value", help="instead of what params.yaml says"
    )
    parser.add_argument(
        "--weights", default="embedded", help="of the backbone: embedded, imagenet or a file"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    chosen = parser.parse_args(arguments)
    changes = parse_grid(chosen.set)
    if len(changes) != 1:
        parser.error(f"--set: expected one value a key. Received: {' '.join(chosen.set)}")
    chosen.set = changes[0]
    return chosen


def main() -> None:
    """Print a table of all models and one of ours against the others."""
    chosen = parse()
    weights = chosen.weights
    if weights.endswith(".weights.h5"):
        weights = str(Path(weights).resolve())  # the stages run in another folder
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_import():
        import tissue.common.runtime  # noqa: F401  imported before time is taken
    params = load_params(changes=chosen.set)
    seeds = range(params.seed, params.seed + chosen.seeds)
    table, right = measure(chosen.data, chosen.only, params=params, seeds=seeds, weights=weights)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    pairs = against(right, read_split(chosen.data, "test").index["group"])
    print(pairs.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
