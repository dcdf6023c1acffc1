"""Our models against common baselines on a folder or zip of images, in folds by whole groups.

`<class>/<image>` is divided into folds that keep each group, such as an antibody, whole. Each fold
in turn is the test set that `fetch` and `split` find; the methods are those of
`benchmarks.accuracy`, with the parameters of params.yaml and the changes of `--set`. The paired
test flips the signs of whole groups. Seconds are the mean over the folds.

With `--answers` each answer is written to a table as soon as a fold has it, and a second run leaves
out what stands there: folds of an interrupted run are kept, and new settings of ours are compared
with old answers of the others, of which the seconds then come from another run.

Run: python -m benchmarks.atlas images.zip --groups groups.csv
Expected on 385 cores of the Human Protein Atlas: see benchmarks/results/atlas.md.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.accuracy import METHODS, against, answers_of
from tissue.common.errors import InputError
from tissue.common.runtime import set_up
from tissue.config.command import command
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import read_split
from tissue.experiments.grid import parse_grid
from tissue.metrics.intervals import mean_interval

COLUMNS = ["fold", "id", "class", "group", "method", "right", "seconds"]


def divide(groups: pd.DataFrame, *, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold, int64 (N,), of each image of a table with `path` and `group`."""
    labels = groups["path"].str.split("/").str[0]
    fold = np.zeros(len(groups), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups["group"])):
        fold[held_out] = number
    return fold


def split_fold(
    images: Path, groups: pd.DataFrame, is_test: NDArray[np.bool_], params: Params, work: Path
) -> None:
    """Write `work/data/split`, with the images where `is_test` (N,) as test set."""
    from stages import fetch, split

    names = np.where(is_test, "test/", "train/") + groups["path"]
    for path, name in zip(groups["path"], names, strict=True):
        (work / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(images / path, work / "images" / name)
    groups.assign(path=names).to_csv(work / "groups.csv", index=False)
    values = params.model_dump()
    values["fetch"]["source"] = str(work / "images")
    values["split"]["metadata"] = str(work / "groups.csv")
    params = Params.model_validate(values)
    fetch.run(params, work)
    split.run(params, work)


def measure(
    images: Path, groups: pd.DataFrame, done: pd.DataFrame, chosen: argparse.Namespace
) -> pd.DataFrame:
    """Return one row per fold, image and method: those of `done`, and what they lack."""
    import keras

    params = load_params(changes=chosen.set)
    fold = divide(groups, folds=chosen.folds, seed=params.seed)
    for number in range(chosen.folds):
        known = done.loc[done["fold"] == number, "method"].unique()
        missing = [key for key in chosen.only if not any(name.startswith(key) for name in known)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            split_fold(images, groups, fold == number, params, work)
            test = read_split(work / "data/split", "test")
            for method in missing:
                keras.backend.clear_session()
                answers = answers_of(
                    method, work / "data/split", params=params, seed=params.seed,
                    weights=chosen.weights,
                )  # fmt: skip
                rows = [
                    test.index[["id", "class", "group"]].assign(
                        fold=number, method=name, right=predicted == test.labels, seconds=seconds
                    )
                    for name, (predicted, seconds) in answers.items()
                ]
                done = pd.concat([done, *rows], ignore_index=True)[COLUMNS]
                if chosen.answers:
                    done.to_csv(chosen.answers, index=False)
    return done


def tables(answers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return accuracies, ours against the others, and recall by class."""
    answers = answers.sort_values(["method", "fold", "id"])
    parts = {str(name): part for name, part in answers.groupby("method")}
    rows = []
    for name, part in parts.items():
        low, high = mean_interval(part["right"].astype(float), part["group"])
        seconds = part.groupby("fold")["seconds"].first().mean()
        rows.append((name, part["right"].mean(), low, high, len(part), seconds))
    groups = next(iter(parts.values()))["group"].reset_index(drop=True)
    right = {name: part["right"].to_numpy(bool)[None] for name, part in parts.items()}
    recall = answers.pivot_table("right", "class", "method", aggfunc="mean")
    recall.insert(0, "n", answers[answers["method"] == rows[0][0]].groupby("class").size())
    return (
        pd.DataFrame(rows, columns=["method", "accuracy", "low", "high", "n", "seconds"]),
        against(right, groups),
        recall,
    )


def read_groups(path: Path, images: Path) -> pd.DataFrame:
    """Return the table of `path` and `group`, whose images have to exist."""
    table = pd.read_csv(path, dtype=str)
    if not {"path", "group"} <= set(table.columns):
        raise InputError(f"{path}: expected columns path and group. Received: {list(table)}.")
    absent = [name for name in table["path"] if not (images / name).is_file()]
    if absent:
        raise InputError(
            f"{path}: expected the images of its rows. Received: {len(absent)} rows without one, "
            f"such as {absent[0]}."
        )
    return table[["path", "group"]].sort_values("path", ignore_index=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("images", type=Path, help="folder or zip with <class>/<image>")
    parser.add_argument("--groups", type=Path, required=True, help="CSV with path and group")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value")
    parser.add_argument("--weights", default="packaged", help="packaged, imagenet or a file")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--answers", type=Path, help="CSV that is continued")
    chosen = parser.parse_args()
    chosen.set = parse_grid(chosen.set)[0]
    return chosen


def main() -> None:
    """Print three tables."""
    chosen = parse()
    params = load_params(changes=chosen.set)
    set_up(seed=params.seed, threads=params.threads)  # imports TensorFlow before time is taken
    done = pd.DataFrame(columns=COLUMNS)
    if chosen.answers and chosen.answers.exists():
        done = pd.read_csv(chosen.answers)
    with tempfile.TemporaryDirectory() as folder:
        images = chosen.images
        if images.is_file():
            with ZipFile(images) as archive:
                archive.extractall(folder)
            images = Path(folder)
        answers = measure(images, read_groups(chosen.groups, images), done, chosen)
    for table in tables(answers):
        print(table.to_string(float_format="{:.3f}".format), end="\n\n")


if __name__ == "__main__":
    with command("atlas"):
        main()
