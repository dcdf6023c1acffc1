"""Are the causes beyond the image itself the planted ones? `python -m benchmarks.recognition`.

Reads `data/split`, `data/embed` and `data/models/pretrained.keras`, changes nothing there. Works
on the cached features, in which a core that is made of two is the mean of both by area. In each
drawing

- the images of one class are divided in half along their first principal component, and the
  training images of one half are left out (too few donors like it);
- 5 % of the test images get the whole image of the other class of their organ system, and keep
  their crops (seen at one magnification only);
- 5 % become two thirds a core of the other class of their organ system (looks like another class);
- 5 % become a core of the other class of their organ system in most views (views disagree);
- half of another class stays in training, but nothing is fitted to it (not learnt in training).

A head is fitted to what is left of training, and the errors among the planted images are explained.
Prints for how many of them each cause is named, and for how many of the correct predictions.

Expected on the default phantom: see benchmarks/results/causes.md. Three drawings take about half a
minute of processor time.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.planting import SHARE, partners
from tissue.common.files import write_table
from tissue.common.names import SPLITS
from tissue.data.features import fit_scaling
from tissue.data.index import Dataset, read_classes, read_split
from tissue.error_analysis.analysis import analyse
from tissue.metrics.predictions import prediction_tables
from tissue.metrics.projection import fit_pca
from tissue.training.head import Coefficients, fit_path
from tissue.training.imbalance import Balance, balance_classes
from tissue.training.novelty import read_novelty

SPLIT, EMBED, MODEL = Path("data/split"), Path("data/embed"), Path("data/models/pretrained.keras")
DRAWINGS = 10
PENALTY = 0.1  # of the head; the choice of the default run changes with its seed
OTHER = 2 / 3  # of a core that is made of two


def rare_part(
    features: dict[str, NDArray[np.float32]], datasets: dict[str, Dataset], label: int
) -> dict[str, NDArray[np.bool_]]:
    """Return by split which images belong to one half of a class, (N,)."""
    scaling = fit_scaling(features["train"].mean(axis=1))
    points = {name: scaling(features[name].mean(axis=1)) for name in SPLITS}
    own = {name: datasets[name].labels == label for name in SPLITS}
    axis = fit_pca(points["train"][own["train"]], 1)
    along = {name: axis.transform(points[name])[:, 0] for name in SPLITS}
    middle = np.median(along["train"][own["train"]])
    return {name: own[name] & (along[name] > middle) for name in SPLITS}


def plant_features(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    partner: dict[int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], pd.Series]:
    """Return the changed features (N, views, D) of the test images, and what was planted."""
    changed, planted = features.copy(), pd.Series("", range(len(labels)))
    count, half = max(1, round(SHARE * len(labels))), features.shape[-1] // 2
    order = rng.permutation(np.flatnonzero(np.isin(labels, list(partner))))
    turned = features.shape[1] // 2 + 1
    for place, row in enumerate(order[: 3 * count]):
        other = features[rng.choice(np.flatnonzero(labels == partner[labels[row]]))]
        if place < count:
            changed[row, :, :half], planted[row] = other[:, :half], "one_scale"
        elif place < 2 * count:
            changed[row] = OTHER * other + (1 - OTHER) * features[row]
            planted[row] = "looks_other"
        else:
            changed[row, :turned], planted[row] = other[:turned], "views_disagree"
    return changed, planted


def explain_planted(classes: list[str], *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Plant, fit and explain; return the errors with what was planted, and the causes' rates."""
    datasets = {name: read_split(SPLIT, name) for name in SPLITS}
    features = {name: np.load(EMBED / f"{name}.npy", allow_pickle=False) for name in SPLITS}
    rng = np.random.default_rng(seed)
    first, second = rng.permutation(len(classes))[:2]
    rare = rare_part(features, datasets, first)
    unlearnt = rare_part(features, datasets, second)
    partner = {classes.index(name): label for name, label in partners(classes).items()}
    features["test"], planted = plant_features(
        features["test"], datasets["test"].labels, partner, rng
    )
    for cause, part in (("few_donors", rare), ("not_learnt", unlearnt)):
        planted[part["test"] & (planted == "").to_numpy()] = cause
    train, kept = datasets["train"], ~rare["train"]
    datasets["train"] = Dataset(train.images, train.index[kept].reset_index(drop=True), train.crops)
    fitted = kept & ~unlearnt["train"]
    balance = balance_classes(train.labels[fitted], "none", classes=len(classes))
    head = _fit(features["train"][fitted], train.labels[fitted], balance, classes=len(classes))
    features["train"] = features["train"][kept]
    answers = {name: _answers(head, features[name]) for name in SPLITS}
    tables = {"head": prediction_tables(answers, datasets, classes=classes)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split in SPLITS:
            write_table(datasets[split].index[["id"]], folder / f"{split}.csv")
            np.save(folder / f"{split}.npy", features[split])
        novelty = read_novelty(MODEL)
        analysis = analyse(tables, datasets, folder, novelty, classes=classes, seed=seed)
    index = datasets["test"].index.assign(planted=planted)
    causes = pd.DataFrame(analysis.summary["head"]["causes"]).T
    return analysis.errors.merge(index[["id", "planted"]], on="id"), causes


def _answers(head: Coefficients, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities (N, views, classes) of features (N, views, D)."""
    each = [head.predict(features[:, view]) for view in range(features.shape[1])]
    return np.stack(each, axis=1).astype(np.float32)


def _fit(
    features: NDArray[np.float32], labels: NDArray[np.int64], balance: Balance, *, classes: int
) -> Coefficients:
    values = features.mean(axis=1, dtype=np.float64)
    (head,) = fit_path(values, labels, [PENALTY], balance=balance, classes=classes)
    return head


def main() -> None:
    """Plant, analyse and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drawings", type=int, default=DRAWINGS)
    options = parser.parse_args()
    classes = read_classes(SPLIT)
    found = [explain_planted(classes, seed=seed) for seed in range(options.drawings)]
    errors = pd.concat([one for one, _ in found])
    counts = pd.crosstab(errors["planted"].replace("", "nothing"), errors["cause"])
    print(counts.assign(errors=counts.sum(axis=1)).to_string())
    correct = sum(causes["correct"] for _, causes in found)
    print("\ncorrect predictions that would get the cause:")
    print((correct / correct.sum()).map("{:.1%}".format).to_string())


if __name__ == "__main__":
    main()
