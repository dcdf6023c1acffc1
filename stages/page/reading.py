"""Everything the page is made from, read once; a file that is missing is named with its stage."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.cli.running import InputError
from stages.dataset.index import PARTS, read_classes, read_index

MODELS = ("scratch", "pretrained")
PICTURES = (
    "samples_train",
    "samples_test",
    "data_checks",
    "confusion_scratch",
    "confusion_pretrained",
    "tsne_train",
    "tsne_test",
    "tsne_joint",
    "tsne_pixels",
)
# Every file the page reads, and the stage that writes it.
MADE_BY = {
    "params.yaml": "",
    "data/split/classes.json": "split",
    "data/split/rejected.csv": "split",
    **{f"data/split/{part}.csv": "split" for part in PARTS},
    "metrics/split.json": "split",
    **{f"plots/{model}_history.csv": f"train_{model}" for model in MODELS},
    **{f"data/predictions/{model}.csv": "evaluate" for model in MODELS},
    **{f"metrics/{model}.json": "evaluate" for model in MODELS},
    "metrics/comparison.json": "evaluate",
    "plots/confusions.csv": "evaluate",
    "metrics/tsne.json": "tsne",
    **{
        f"plots/{name}.png": {
            "samples": "split",
            "data": "split",
            "confusion": "evaluate",
            "tsne": "tsne",
        }[name.split("_")[0]]
        for name in PICTURES
    },
}


@dataclass(frozen=True)
class Inputs:
    """What the other stages handed on, by file name without ending."""

    params: str
    classes: list[str]
    index: dict[str, pd.DataFrame]
    rejected: pd.DataFrame
    metrics: dict[str, dict[str, Any]]
    histories: dict[str, pd.DataFrame]
    predictions: dict[str, pd.DataFrame]
    confusions: pd.DataFrame
    pictures: dict[str, bytes]
    digests: list[tuple[str, int, str]] = field(repr=False)

    def tested(self, model: str) -> pd.DataFrame:
        """Predictions of a model on the test images, one row for each."""
        frame = self.predictions[model]
        return frame[frame["split"] == "test"]

    @property
    def is_phantom(self) -> bool:
        """Whether the images were drawn by the project itself."""
        return self.metrics["split"].get("source") == "phantom"


def read_inputs(root: Path) -> Inputs:
    """Read the files below `root`, the top of the repository.

    Raises:
        ValueError: if a file is missing; all missing files are named with their stages.
    """
    check_complete(root)
    return Inputs(
        params=(root / "params.yaml").read_text(encoding="utf-8"),
        classes=read_classes(root / "data/split"),
        index={part: read_index(root / f"data/split/{part}.csv") for part in PARTS},
        rejected=_read_names(root / "data/split/rejected.csv"),
        metrics={
            name: json.loads((root / f"metrics/{name}.json").read_text(encoding="utf-8"))
            for name in ("split", *MODELS, "comparison", "tsne")
        },
        histories={model: pd.read_csv(root / f"plots/{model}_history.csv") for model in MODELS},
        predictions={
            model: _read_names(root / f"data/predictions/{model}.csv") for model in MODELS
        },
        confusions=_read_names(root / "plots/confusions.csv"),
        pictures={name: (root / f"plots/{name}.png").read_bytes() for name in PICTURES},
        digests=[digest(root, name) for name in sorted(MADE_BY)],
    )


def check_complete(root: Path) -> None:
    """Raise a ValueError that names each missing file and the stage that writes it."""
    missing = [name for name in sorted(MADE_BY) if not (root / name).is_file()]
    if missing:
        described = ", ".join(
            f"{name} (stage {MADE_BY[name]})" if MADE_BY[name] else name for name in missing
        )
        stages = sorted({MADE_BY[name] for name in missing if MADE_BY[name]})
        advice = f"dvc repro {' '.join(stages)}" if stages else "git restore params.yaml"
        raise InputError(
            f"The report expected all results of the other stages. Received: no {described}. "
            f"Run `{advice}`."
        )


def digest(root: Path, name: str) -> tuple[str, int, str]:
    """Name, size in bytes and SHA-256 of a file."""
    content = (root / name).read_bytes()
    return name, len(content), hashlib.sha256(content).hexdigest()


def _read_names(path: Path) -> pd.DataFrame:
    """A CSV whose names stay text, also a class called `1` or `None`."""
    names = ("id", "split", "class", "actual", "predicted", "model", "reason")
    return pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False)
