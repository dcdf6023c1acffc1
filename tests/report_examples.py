"""Results of a whole run as the stages write them: invented, but consistent with each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages import report
from tests.error_examples import write_errors
from tests.pipeline import ROOT
from tissue.audit.cross_validation import score_table
from tissue.common.files import write_json, write_table
from tissue.common.names import MODELS
from tissue.config.loading import load_params
from tissue.metrics.calibration import reliability, risk_coverage
from tissue.metrics.classification import measure_models
from tissue.metrics.intervals import Sampling
from tissue.metrics.predictions import confusions, prediction_table
from tissue.metrics.ranking import ranking_curves
from tissue.phantom import plan
from tissue.report.reading import PICTURES

CLASSES = list(plan.CLASSES)
PAIRS = {"skin_1": "skin_2", "endometrium_1": "endometrium_2", "lymph_node": "spleen"}
TWINS = PAIRS | {two: one for one, two in PAIRS.items()}
PER_CLASS = {"train": 48, "val": 12, "test": 30}
SIZE = {"samples": (700, 900), "data": (932, 1500), "confusion": (1400, 1350), "tsne": (1200, 960)}
GAIN = {"train": 0.12, "val": 0.02, "test": 0.0}  # of a model's skill, on each split
VIEWS = {"scratch": 8, "pretrained": 4}
SAMPLING = Sampling(resamples=100, seed=0)

MIXING = {"real": 0.98, "random_mean": 1.0, "random_low": 0.94, "random_high": 1.06}
AREA = {"real": 0.45, "random_mean": 0.44, "random_low": 0.4, "random_high": 0.5}
DISTANCE = {"real": 50.0, "random_mean": 52.0, "random_low": 45.0, "random_high": 60.0}
TSNE: dict[str, Any] = {
    "images": 936,
    "neighbours": 10,
    "random_splits": 500,
    "mixing": {
        "features": {**MIXING, "p_value": 0.31, "p_value_closer": 0.69},
        "pixels": {**MIXING, "p_value": 0.22, "p_value_closer": 0.78},
    },
    "two_sample": {
        "features": {**AREA, "p_value": 0.5, "p_value_closer": 0.5},
        "pixels": {**AREA, "p_value": 0.6, "p_value_closer": 0.4},
    },
    "frechet": {
        "features": {**DISTANCE, "p_value": 0.7, "p_value_closer": 0.3},
        "pixels": {**DISTANCE, "p_value": 0.8, "p_value_closer": 0.2},
    },
}

AUDIT: dict[str, Any] = {
    "images": 720, "groups": 180, "classes": 12, "left_out": {}, "chance": 0.0833, "folds": 5,
    "repeats": 3,
    "accuracy": {
        name: {"accuracy": value, "low": value - 0.04, "high": value + 0.04, "fold_sd": 0.03}
        for name, value in (
            ("careless", 0.85), ("honest", 0.80), ("whole_image", 0.75), ("all_shortcuts", 0.5),
            ("colour", 0.45), ("tissue_and_blur", 0.3), ("size", 0.08),
        )
    },
    "difference": {
        "careless": {"value": 0.05, "low": 0.02, "high": 0.08},
        "whole_image": {"value": -0.05, "low": -0.08, "high": -0.02},
        "all_shortcuts": {"value": -0.3, "low": -0.34, "high": -0.26},
    },
    "learning_curve": {
        "fit": {"ceiling": 0.95, "gap": 0.4, "slope": 0.5},
        "ceiling": 0.94, "ceiling_low": 0.85, "ceiling_high": 1.0,
        "images": 720, "all_groups": 180,
        "doubled": 0.034, "doubled_low": 0.02, "doubled_high": 0.05,
        "classes": 12, "groups": 12, "gain": 0.05, "reach": 5, "more_groups": 20,
        "more_groups_low": 11,
    },
}  # fmt: skip


def make_results(
    root: Path,
    classes: list[str],
    *,
    source: str = "phantom",
    per_class: dict[str, int] = PER_CLASS,
    side: int = 24,
) -> None:
    """Write everything that the report reads, with numbers that fit each other."""
    rng = np.random.default_rng(5)
    for folder in ("plots", "data/split", "data/models", "data/predictions"):
        (root / folder).mkdir(parents=True)
    (root / "params.yaml").write_text("seed: 17\nfetch:\n  source: <phantom> & more\n")
    write_json(classes, root / "data/split/classes.json")
    index = {split: _index(split, n, classes, source, rng) for split, n in per_class.items()}
    for split, frame in index.items():
        write_table(frame, root / f"data/split/{split}.csv")
        np.save(root / f"data/split/{split}.npy", _images(len(frame), side, rng))
    rejected = pd.DataFrame({"id": ["train/liver/x.jpg"], "reason": ["truncated file"]})
    write_table(rejected, root / "data/split/rejected.csv")
    tables = {}
    for model, skill in (("scratch", 0.55), ("pretrained", 0.84)):
        frame = _predictions(index, classes, skill, rng)
        write_table(frame, root / f"data/predictions/{model}.csv")
        tables[model] = frame
        (root / f"data/models/{model}.keras").write_bytes(model.encode())
        history = _history(skill, rng)
        if model == "pretrained":
            history = pd.concat([_penalties(skill), history.assign(phase=2)])
        write_table(history, root / f"plots/{model}_history.csv")
    parameters = dict.fromkeys(MODELS, 412_340)
    metrics = measure_models(
        tables, index, classes=classes, parameters=parameters, sampling=SAMPLING
    )
    for name, values in metrics.items():
        write_json(values, root / f"metrics/{name}.json")
    write_json(_split_metrics(index, source), root / "metrics/split.json")
    write_json(TSNE, root / "metrics/tsne.json")
    _write_audit(root)
    tested = {model: frame[frame["split"] == "test"] for model, frame in tables.items()}
    write_table(confusions(tested), root / "plots/confusions.csv")
    for model, frame in tested.items():
        write_table(reliability(frame, index["test"]), root / f"plots/reliability_{model}.csv")
        write_table(risk_coverage(frame, index["test"]), root / f"plots/risk_coverage_{model}.csv")
        write_table(ranking_curves(frame, classes), root / f"plots/ranking_{model}.csv")
    write_errors(root, tested, index["train"])
    points = pd.concat([index[split].assign(split=split) for split in ("train", "test")])
    points[["x", "y"]] = rng.normal(points[["label"]], 0.4, (len(points), 2))
    write_table(points[["id", "split", "class", "x", "y"]], root / "plots/tsne.csv")
    for name in PICTURES:
        Image.new("RGB", SIZE[name.split("_")[0]], "white").save(root / f"plots/{name}.png")


def _write_audit(root: Path) -> None:
    write_json(AUDIT, root / "metrics/audit.json")
    write_table(score_table(AUDIT["accuracy"], chance=AUDIT["chance"]), root / "plots/audit.csv")
    curve = pd.DataFrame({"groups": [1, 2, 4, 12], "accuracy": [0.55, 0.67, 0.75, 0.83]})
    curve = curve.assign(low=curve["accuracy"] - 0.04, high=curve["accuracy"] + 0.04)
    write_table(curve.assign(fitted=curve["accuracy"]), root / "plots/learning_curve.csv")


def run_report(root: Path) -> Path:
    """Run the stage on the results below a folder and return the page."""
    report.run(load_params(ROOT / "params.yaml"), root)
    return root / "plots/report.html"


def _images(number: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth colours, so that thumbnails have about the size of those of tissue."""
    coarse = rng.integers(120, 255, (number, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side))) for one in coarse])


def _index(
    split: str, number: int, classes: list[str], source: str, rng: np.random.Generator
) -> pd.DataFrame:
    folder = "test" if split == "test" else "train"
    rows = [
        (f"{folder}/{name}/{split}_{i:02d}.jpg", name, label)
        for label, name in enumerate(classes)
        for i in range(number)
    ]
    frame = pd.DataFrame(rows, columns=["id", "class", "label"])
    donors = [f"{split}-{rng.integers(12)}" for _ in rows]
    frame = frame.assign(
        group=donors, sha256="", source=source, donor=donors, slide="", antibody="", x="", y="",
        mpp="", width=448,
        height=448,
    )  # fmt: skip
    for column, mean in (("tissue_fraction", 0.6), ("blur", 0.1), ("haematoxylin", 0.2)):
        frame[column] = mean * rng.gamma(9, 1 / 9, len(frame))
    return frame.assign(dab=frame["haematoxylin"] / 2)


def _predictions(
    index: dict[str, pd.DataFrame], classes: list[str], skill: float, rng: np.random.Generator
) -> pd.DataFrame:
    frames = []
    for split, frame in index.items():
        probabilities = rng.dirichlet(np.full(len(classes), 0.3), len(frame))
        for row, (name, label) in enumerate(zip(frame["class"], frame["label"], strict=True)):
            answer, twin = label, TWINS.get(name)
            known = twin in classes
            harder = 0.25 if known and split == "test" else 0.0
            if rng.random() > min(0.99, skill + GAIN[split]) - harder:
                to_twin = known and rng.random() < 0.85
                answer = classes.index(twin) if to_twin else rng.integers(len(classes))
            first = probabilities[row].argmax()
            probabilities[row, [first, answer]] = probabilities[row, [answer, first]]
        frames.append(prediction_table(frame, probabilities, split=split, classes=classes))
    return pd.concat(frames, ignore_index=True)


def _history(skill: float, rng: np.random.Generator) -> pd.DataFrame:
    epoch = np.arange(1, 31)
    fall = np.exp(-epoch / 8)
    noise = rng.normal(size=(2, len(epoch)))
    return pd.DataFrame(
        {
            "epoch": epoch,
            "phase": 1 + (epoch > 10),
            "accuracy": (skill + 0.1) * (1 - 0.9 * fall),
            "loss": 2.4 * fall + 0.2,
            "val_accuracy": skill * (1 - 0.85 * fall) + 0.01 * noise[0],
            "val_loss": 2.3 * fall + 0.5 + 0.004 * epoch + 0.03 * noise[1],
            "lr": 1e-3,
        }
    )


def _penalties(skill: float) -> pd.DataFrame:
    """The head is best with a penalty of 0.1."""
    return pd.DataFrame({
        "phase": 1, "penalty": [1.0, 0.3, 0.1, 0.03], "accuracy": [0.8, 0.9, 0.95, 0.99],
        "loss": [1.0, 0.6, 0.3, 0.1], "val_accuracy": skill, "val_loss": [1.1, 0.8, 0.6, 0.7],
    })  # fmt: skip


def _split_metrics(index: dict[str, pd.DataFrame], source: str) -> dict[str, Any]:
    fewest = int(index["test"]["class"].value_counts().min())
    return {
        "images": {split: len(frame) for split, frame in index.items()},
        "images_per_class": {
            "train": {"fewest": 48, "most": 48},
            "test": {"fewest": fewest, "most": fewest},
        },
        "duplicates": {"exact": 0, "near": 3, "across_splits": 0, "relabelled": 0},
        "copies": "link",
        "groups": {**dict.fromkeys(index, 12), "shared": 0, "joined_by_copies": 0, "largest": 40},
        "leaks": {"images": 0, "test_images": 0, "dropped": 0, "possible": 0},
        "blank": 1,
        "rejected": 1,
        "group_rule": "donor",
        "source": source,
    }
