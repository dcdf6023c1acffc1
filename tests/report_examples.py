"""Results of a whole run in the form that the stages write: invented, but fitting each other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tests.error_examples import write_errors
from tissue.common.files import write_table
from tissue.common.names import MODELS
from tissue.metrics.confidence import reliability, risk_coverage
from tissue.phantom import plan
from tissue.report.reading import PICTURES

CLASSES = list(plan.CLASSES)

PAIRS = {"skin_1": "skin_2", "endometrium_1": "endometrium_2", "lymph_node": "spleen"}
PER_CLASS = {"train": 48, "val": 12, "test": 30}
SIZE = {"samples": (700, 900), "data": (932, 1500), "confusion": (1400, 1350), "tsne": (1200, 960)}


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
    for folder in ("metrics", "plots", "data/split", "data/models", "data/predictions"):
        (root / folder).mkdir(parents=True)
    (root / "params.yaml").write_text("seed: 17\nfetch:\n  source: <phantom> & more\n")
    (root / "data/split/classes.json").write_text(json.dumps(classes))
    index = {part: _index(part, number, classes, rng) for part, number in per_class.items()}
    for part, frame in index.items():
        frame.to_csv(root / f"data/split/{part}.csv", index=False)
        np.save(root / f"data/split/{part}.npy", _images(frame, side, rng))
    rejected = pd.DataFrame({"id": ["train/liver/x.jpg"], "reason": ["truncated file"]})
    rejected.to_csv(root / "data/split/rejected.csv", index=False)
    tested = {}
    for model, skill in (("scratch", 0.55), ("pretrained", 0.84)):
        frame = _predictions(index, classes, skill, rng)
        frame.to_csv(root / f"data/predictions/{model}.csv", index=False)
        tested[model] = frame[frame["split"] == "test"].reset_index(drop=True)
        _write_json(root / f"metrics/{model}.json", _metrics(frame, classes))
        (root / f"data/models/{model}.keras").write_bytes(model.encode())
        write_table(reliability(tested[model]), root / f"plots/reliability_{model}.csv")
        write_table(risk_coverage(tested[model]), root / f"plots/risk_coverage_{model}.csv")
        _history(skill, rng).to_csv(root / f"plots/{model}_history.csv", index=False)
    _write_json(root / "metrics/comparison.json", _comparison(tested))
    _write_json(root / "metrics/split.json", _split_metrics(index, classes, source))
    _write_json(root / "metrics/tsne.json", TSNE)
    _confusions(tested).to_csv(root / "plots/confusions.csv", index=False)
    write_errors(root, tested, index["train"])
    points = pd.concat([index[part].assign(split=part) for part in ("train", "test")])
    points[["x", "y"]] = rng.normal(points[["label"]], 0.4, (len(points), 2))
    points[["id", "split", "class", "x", "y"]].to_csv(root / "plots/tsne.csv", index=False)
    for name in PICTURES:
        Image.new("RGB", SIZE[name.split("_")[0]], "white").save(root / f"plots/{name}.png")


def _images(frame: pd.DataFrame, side: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth colours, so that thumbnails have about the size of those of tissue."""
    coarse = rng.integers(120, 255, (len(frame), 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side))) for one in coarse])


MIXING = {"real": 0.98, "random_mean": 1.0, "random_low": 0.94, "random_high": 1.06}
AREA = {"real": 0.45, "random_mean": 0.44, "random_low": 0.4, "random_high": 0.5}
DISTANCE = {"real": 50.0, "random_mean": 52.0, "random_low": 45.0, "random_high": 60.0}
TSNE: dict[str, Any] = {
    "neighbours": 10,
    "mixing": {"features": {**MIXING, "p_value": 0.31}, "pixels": {**MIXING, "p_value": 0.22}},
    "two_sample": {"features": {**AREA, "p_value": 0.5}, "pixels": {**AREA, "p_value": 0.6}},
    "frechet": {"features": {**DISTANCE, "p_value": 0.7}, "pixels": {**DISTANCE, "p_value": 0.8}},
}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True))


def _index(part: str, number: int, classes: list[str], rng: np.random.Generator) -> pd.DataFrame:
    folder = "test" if part == "test" else "train"
    rows = [
        (f"{folder}/{name}/{part}_{i:02d}.jpg", name) for name in classes for i in range(number)
    ]
    frame = pd.DataFrame(rows, columns=["id", "class"])
    frame["label"] = frame["class"].map(classes.index)
    frame["donor"] = [f"{part}-{rng.integers(12)}" for _ in rows]
    frame["group"] = frame["donor"]
    frame["slide"] = frame["antibody"] = ""
    frame["width"] = frame["height"] = 448
    for column, mean in (
        ("tissue_fraction", 0.6),
        ("blur", 140),
        ("haematoxylin", 0.2),
        ("dab", 0.1),
    ):
        frame[column] = mean * rng.gamma(9, 1 / 9, len(frame))
    return frame


def _predictions(
    index: dict[str, pd.DataFrame], classes: list[str], skill: float, rng: np.random.Generator
) -> pd.DataFrame:
    both = {**PAIRS, **{two: one for one, two in PAIRS.items()}}
    frames = []
    for part, frame in index.items():
        good = min(0.99, skill + {"train": 0.12, "val": 0.02, "test": 0.0}[part])
        predicted = []
        for name in frame["class"]:
            twin = both.get(name) if both.get(name) in classes else None
            right = rng.random() < (good - 0.25 * (twin is not None) if part == "test" else good)
            lead = twin if twin and rng.random() < 0.85 else classes[rng.integers(len(classes))]
            predicted.append(name if right else lead)
        frames.append(
            frame[["id", "class"]].assign(
                split=part, predicted=predicted, confidence=rng.uniform(0.2, 1, len(frame))
            )
        )
    return pd.concat(frames)[["id", "split", "class", "predicted", "confidence"]]


def _metrics(frame: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    right = frame["class"] == frame["predicted"]
    parts: dict[str, Any] = {
        part: {"accuracy": round(float(right[frame["split"] == part].mean()), 4)}
        for part in PER_CLASS
    }
    accuracy = parts["test"]["accuracy"]
    tested = frame[frame["split"] == "test"]
    recall = (tested["class"] == tested["predicted"]).groupby(tested["class"]).mean()
    parts["test"] |= {
        "n": len(tested),
        "accuracy_low": round(accuracy - 0.045, 4),
        "accuracy_high": round(accuracy + 0.041, 4),
        "macro_f1": round(accuracy - 0.004, 4),
        "balanced_accuracy": accuracy,
        "kappa": round(accuracy - 0.03, 4),
        "top3_accuracy": 0.9667,
        "ece": 0.0412,
        "recall": {name: round(float(recall[name]), 4) for name in classes},
    }
    if classes == CLASSES:
        parts["test"] |= {"accuracy_10_tissues": 0.9, "accuracy_8_systems": 0.9306}
    return parts | {"parameters": 412_340}


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


def _comparison(tested: dict[str, pd.DataFrame]) -> dict[str, Any]:
    one, two = (tested[model]["class"] == tested[model]["predicted"] for model in MODELS)
    difference = float(two.mean() - one.mean())
    return {
        "test": {
            "n": len(one),
            "both_right": int((one & two).sum()),
            "only_scratch": int((one & ~two).sum()),
            "only_pretrained": int((~one & two).sum()),
            "both_wrong": int((~one & ~two).sum()),
            "difference": round(difference, 4),
            "difference_low": round(difference - 0.05, 4),
            "difference_high": round(difference + 0.05, 4),
            "p_value": 0.0002,
        }
    }


def _split_metrics(
    index: dict[str, pd.DataFrame], classes: list[str], source: str
) -> dict[str, Any]:
    return {
        "images": {part: len(frame) for part, frame in index.items()},
        "classes": len(classes),
        "duplicates": {"exact": 0, "near": 3, "across_splits": 0},
        "groups": {**dict.fromkeys(index, 12), "shared": 0},
        "rejected": 1,
        "group_rule": "donor",
        "source": source,
    }


def _confusions(tested: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for model, frame in tested.items():
        wrong = frame[frame["class"] != frame["predicted"]]
        for (actual, predicted), number in wrong.value_counts(["class", "predicted"]).items():
            rows.append((model, actual, predicted, number, number / 30, 30))
    frame = pd.DataFrame(rows, columns=["model", "actual", "predicted", "count", "share", "n"])
    return frame.sort_values(
        ["count", "model", "actual", "predicted"], ascending=[False, *[True] * 3]
    )
