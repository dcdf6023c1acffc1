"""Invented features, images and predictions with planted causes of errors."""

from pathlib import Path

import numpy as np
import pandas as pd

from tissue.common.names import SPLITS
from tissue.data.index import Dataset
from tissue.metrics.predictions import prediction_tables
from tissue.training.novelty import Novelty, fit_novelty_of

CLASSES = ["colon", "kidney", "lung", "skin_1", "skin_2"]
SIZES = {"train": 60, "val": 30, "test": 30}
FACTORS = {
    "blur": ("blur", 3), "little_tissue": ("tissue_fraction", 0.1),
    "extreme_stain": ("haematoxylin", 5),
}  # fmt: skip
SECOND = ("one_scale", "looks_other")  # of the two skins
PLANTED = (*FACTORS, "unlike_training", "suspect_label", *SECOND, "few_donors")
OFFSET = 3.0  # of rare lungs from colons
COUNT = 6  # of test images, for each planted cause


def planted_datasets(folder: Path, seed: int = 0) -> tuple[dict[str, Dataset], pd.Series]:
    """Write features, and return the datasets and what was planted in each test image."""
    rng = np.random.default_rng(seed)
    # Half of the features are those of the whole image, half those of the crops.
    centres = rng.gamma(2, 1, (len(CLASSES), 2, 24))
    centres[4] = centres[3] + 0.6 * rng.normal(size=(2, 24))  # the two skins
    # Lungs of which training has none lie beside the colons, across all differences of classes.
    flat = centres.reshape(len(CLASSES), -1)
    across = np.linalg.qr(np.vstack([flat - flat[0], rng.normal(size=48)])[1:].T)[0][:, -1]
    rare = (flat[0] + OFFSET * across).reshape(2, 24)
    datasets, planted = {}, pd.Series(dtype=str)
    for name in SPLITS:
        labels = np.repeat(np.arange(len(CLASSES)), SIZES[name])
        n = len(labels)
        index = pd.DataFrame({
            "id": [f"{name}/{i}" for i in range(n)],
            "class": np.asarray(CLASSES)[labels],
            "label": labels,
            "group": [f"{name}-{i // 3}" for i in range(n)],
            "slide": "",
            "antibody": "",
            "tissue_fraction": 0.45 * np.exp(rng.normal(0, 0.15, n)),
            "blur": 0.16 * np.exp(rng.normal(0, 0.08, n)),
            "haematoxylin": 0.22 * np.exp(rng.normal(0, 0.2, n)),
            "dab": 0.2 * np.exp(rng.normal(0, 0.3, n)),
        })  # fmt: skip
        points = centres[labels] + 0.5 * rng.normal(size=(n, 2, 24))
        if name != "train":
            few = np.flatnonzero(labels == CLASSES.index("lung"))[
                : COUNT if name == "test" else 4 * COUNT
            ]
            points[few] = rare + 0.5 * rng.normal(size=(len(few), 2, 24))
        if name == "test":
            planted = _plant(index, points, centres, rng)
            planted[few] = "few_donors"
        features = np.abs(points.reshape(n, 1, -1)) + 0.01 * rng.normal(size=(n, 2, 48))
        np.save(folder / f"{name}.npy", features.astype(np.float32))
        index[["id"]].to_csv(folder / f"{name}.csv", index=False)
        images = rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
        datasets[name] = Dataset(images, index, images[:, None])
    return datasets, planted


def _plant(
    index: pd.DataFrame, points: np.ndarray, centres: np.ndarray, rng: np.random.Generator
) -> pd.Series:
    planted = pd.Series("", index.index)
    skins = rng.permutation(np.flatnonzero(index["label"] >= 3))
    for number, cause in enumerate(SECOND):
        rows = skins[number * COUNT : (number + 1) * COUNT]
        other = centres[7 - index["label"].to_numpy()[rows]]
        parts = slice(1) if cause == "one_scale" else slice(2)
        points[rows, parts] = other[:, parts] + 0.3 * rng.normal(size=other[:, parts].shape)
        planted[rows] = cause
    free = np.flatnonzero((planted == "") & (index["class"] != "lung"))
    kinds = [cause for cause in PLANTED if cause not in (*SECOND, "few_donors")]
    drawn = rng.permutation(free)[: COUNT * len(kinds)].reshape(-1, COUNT)
    for cause, rows in zip(kinds, drawn, strict=True):
        planted[rows] = cause
        if cause in FACTORS:
            column, factor = FACTORS[cause]
            index.loc[rows, column] *= factor
        elif cause == "unlike_training":
            points[rows] = rng.gamma(2, 3, (1, 2, 24)) + rng.normal(size=(COUNT, 2, 24))
        else:  # a class of another organ system
            index.loc[rows, "label"] = np.where(index.loc[rows, "label"] == 0, 1, 0)
    index["class"] = np.asarray(CLASSES)[index["label"]]
    return planted


def fitted(datasets: dict[str, Dataset], folder: Path) -> Novelty:
    """Return the distance from the training images that `planted_datasets` wrote."""
    return fit_novelty_of(datasets["train"].index, datasets["val"].index, folder, seed=0)


def predictions(datasets: dict[str, Dataset], planted: pd.Series, seed: int) -> pd.DataFrame:
    """Return predictions that are correct except where a cause was planted and for some skins."""
    rng = np.random.default_rng(seed)
    probabilities = {}
    for name, dataset in datasets.items():
        n = len(dataset.index)
        wrong = (planted != "").to_numpy() if name == "test" else np.zeros(n, bool)
        skins = dataset.index["class"].isin(["skin_1", "skin_2"]) & (rng.random(n) < 0.2)
        chosen = dataset.labels.copy()
        chosen[wrong] = (chosen[wrong] + 1) % 3
        chosen[skins & ~wrong] = 7 - chosen[skins & ~wrong]
        probabilities[name] = np.full((n, len(CLASSES)), 0.05, np.float32)
        probabilities[name][np.arange(n), chosen] = 0.8
    return prediction_tables(probabilities, datasets, classes=CLASSES)
