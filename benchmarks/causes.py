"""Is the cause that is named the cause that was planted? `python -m benchmarks.causes`.

Reads `data/split`, `data/embed` and `data/models` of the phantom and changes nothing there. Plants
in 5 % of the test images each: blur, loss of most of the tissue, stains four to five times as
strong, fat in place of the tissue (which no class has), and the label of another class. Classifies
them with both models, runs the error analysis, and prints for each planted cause how many images
were misclassified and for which share of these the planted cause is named.

Then plants 5 % of wrong labels in all splits, either of any other class or of the other class of
the same organ system, and ranks all images by how badly they fit their label. Prints the precision
of the top of the ranking that contains four in five planted labels, and size, precision and recall
of the list of suspects that `evaluate` would write.

Expected: see benchmarks/results/causes.md. Three drawings, and twenty of labels, take about six
minutes on two cores.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.planting import SHARE, TRANSFORMS, partners, plant, relabel
from tissue.common.names import MODELS, SPLITS
from tissue.common.runtime import quiet_import
from tissue.config.loading import load_params
from tissue.config.schema import Params
from tissue.data.index import Dataset, read_classes, read_split
from tissue.error_analysis.analysis import analyse
from tissue.error_analysis.space import fit_space
from tissue.error_analysis.suspects import label_fit, out_of_fold_probabilities, suspect_labels
from tissue.metrics.predictions import prediction_tables
from tissue.training.novelty import read_novelty

if TYPE_CHECKING:
    import keras

SPLIT, EMBED, MODEL_FOLDER = Path("data/split"), Path("data/embed"), Path("data/models")
RECALL = 0.8


def explain_planted(
    networks: dict[str, "keras.Model"],
    datasets: dict[str, Dataset],
    classes: list[str],
    params: Params,
    *,
    seed: int,
) -> pd.DataFrame:
    """Plant causes into the test set and return the errors of both models, with what was planted.

    Args:
        networks: both models.
        datasets: training, validation and test.
        classes: all class names.
        params: those of the models.
        seed: of what is planted, and where.
    """
    from tissue.backbones.embedding import embed_batch
    from tissue.training.inference import predict_embedded_splits, predict_splits

    test, planted = plant(datasets["test"], classes, zoom=params.split.crops.zoom, seed=seed)
    features = np.load(EMBED / "test.npy", allow_pickle=False)
    rows = np.flatnonzero(planted.isin(list(TRANSFORMS)))
    backbone = networks["pretrained"].get_layer("backbone")
    crops = None if test.crops is None else test.crops[rows]
    features[rows] = embed_batch(backbone, test.images[rows], crops, views=features.shape[1])
    datasets = datasets | {"test": test}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in EMBED.iterdir():
            if source.name != "test.npy":
                (folder / source.name).symlink_to(source.resolve())
        np.save(folder / "test.npy", features)
        scratch = predict_splits(networks["scratch"], datasets, views=params.scratch.views)
        pretrained = predict_embedded_splits(networks["pretrained"], datasets, folder)
        tables = {
            "scratch": prediction_tables(scratch, datasets, classes=classes),
            "pretrained": prediction_tables(pretrained, datasets, classes=classes),
        }
        novelty = read_novelty(MODEL_FOLDER / "pretrained.keras")
        analysis = analyse(tables, datasets, folder, novelty, classes=classes, seed=seed)
    return analysis.errors.merge(test.index.assign(planted=planted)[["id", "planted"]], on="id")


def named_table(errors: pd.DataFrame) -> pd.DataFrame:
    """Return for each model and planted cause the number of errors, and how many name it."""
    hits = errors[errors["planted"] != ""]
    hits = hits.assign(hit=hits["planted"] == hits["cause"])
    by_cause = hits.groupby(["model", "planted"])["hit"]
    return by_cause.agg(errors="size", named="sum", share="mean").reset_index()


def measure_suspects(
    datasets: dict[str, Dataset], classes: list[str], *, seed: int, near: bool
) -> dict[str, float]:
    """Plant wrong labels, `near` within organ systems, and return how well they are found.

    Precision at a recall of 0.8 by rank; and size, precision and recall of the list of suspects.
    """
    rng = np.random.default_rng(seed)
    tables, wrong = [], set[str]()
    for name, dataset in datasets.items():
        table = dataset.index.assign(split=name)
        rows = rng.permutation(len(table))
        if near:
            rows = rows[table["class"].iloc[rows].isin(partners(classes))]
        rows = rows[: round(SHARE * len(table))]
        relabel(table, rows, classes, seed=seed, near=near)
        tables.append(table)
        wrong |= set(table["id"].iloc[rows])
    images = pd.concat(tables, ignore_index=True)
    novelty = read_novelty(MODEL_FOLDER / "pretrained.keras")
    points, _ = fit_space(tables[0], EMBED, novelty, seed=seed).project(images, EMBED)
    labels, donors = images["label"].to_numpy(int), images["group"]
    probabilities = out_of_fold_probabilities(
        points["both"], labels, donors, classes=len(classes), seed=seed
    )
    ranked = images["id"].iloc[np.argsort(label_fit(probabilities, labels), kind="stable")]
    found = np.cumsum(ranked.isin(wrong).to_numpy())
    first = int(np.searchsorted(found, RECALL * len(wrong)))
    listed = suspect_labels(images, probabilities, classes)["id"].isin(wrong)
    return {
        f"precision at recall {RECALL}": found[first] / (first + 1),
        "listed": len(listed),
        "precision": listed.mean(),
        "recall": listed.sum() / len(wrong),
    }


def main() -> None:
    """Plant, analyse and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drawings", type=int, default=3, help="of causes (%(default)s)")
    parser.add_argument("--labels", type=int, default=20, help="of wrong labels (%(default)s)")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["KERAS_BACKEND"] = "3", "tensorflow"
    with quiet_import():
        from tissue.common.runtime import set_up
    from tissue.training.saving import load_model

    params = load_params()
    set_up(seed=params.seed, threads=params.threads)
    classes = read_classes(SPLIT)
    datasets = {name: read_split(SPLIT, name) for name in SPLITS}
    networks = {name: load_model(MODEL_FOLDER / f"{name}.keras") for name in MODELS}
    errors = [
        explain_planted(networks, datasets, classes, params, seed=seed)
        for seed in range(options.drawings)
    ]
    table = named_table(pd.concat(errors))
    print(table.to_string(index=False, float_format="{:.2f}".format))
    for model, rows in table.groupby("model"):
        print(f"{model}: {rows['named'].sum() / rows['errors'].sum():.2f} of all")
    with threadpool_limits(1):
        for near in (False, True):
            seeds = range(options.labels)
            rows = [measure_suspects(datasets, classes, seed=seed, near=near) for seed in seeds]
            print(f"wrong labels, {'the same organ system' if near else 'any class'}:")
            summary = pd.DataFrame(rows).describe().loc[["mean", "min", "25%", "max"]]
            print(summary.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
