"""Everything the page is made from, read once; a file that is missing is named with its stage."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import file_digest
from tissue.common.names import MODELS, SPLITS
from tissue.data.index import Dataset, check_rows, read_classes, read_index
from tissue.data.shards import Array, Shards, read_array
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS

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
    **{f"data/split/{part}.csv": "split" for part in SPLITS},
    **{f"data/split/{part}.npy": "split" for part in SPLITS},
    "metrics/split.json": "split",
    **{f"plots/{model}_history.csv": f"train_{model}" for model in MODELS},
    **{f"data/models/{model}.keras": f"train_{model}" for model in MODELS},
    **{f"data/predictions/{model}.csv": "evaluate" for model in MODELS},
    "data/predictions/errors.csv": "evaluate",
    "data/predictions/gradcam.csv": "evaluate",
    "data/predictions/gradcam.npy": "evaluate",
    "data/predictions/suspects.csv": "evaluate",
    "metrics/errors.json": "evaluate",
    **{f"plots/reliability_{model}.csv": "evaluate" for model in MODELS},
    **{f"plots/risk_coverage_{model}.csv": "evaluate" for model in MODELS},
    **{f"metrics/{model}.json": "evaluate" for model in MODELS},
    "metrics/comparison.json": "evaluate",
    "plots/confusions.csv": "evaluate",
    "metrics/tsne.json": "tsne",
    "plots/tsne.csv": "tsne",
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

TEXTS = (
    "id", "split", "class", "actual", "predicted", "model", "reason", "cause", "sentence",
    "suggested", *NEIGHBOUR_COLUMNS,
)  # fmt: skip
# Of tables with a row an image only what is shown is read.
PREDICTED = ("id", "split", "class", "predicted", "confidence")
ERRORS = (
    "model", "id", "class", "predicted", "confidence", "margin", "cause", "sentence",
    *NEIGHBOUR_COLUMNS,
)  # fmt: skip
NOT_SHOWN = ("sha256", "source")
ROWS = 10_000  # of a large table in memory at once


@dataclass(frozen=True)
class Inputs:
    """What the other stages handed on, by file name without ending."""

    params: str
    classes: list[str]
    parts: dict[str, Dataset]
    rejected: pd.DataFrame
    metrics: dict[str, dict[str, Any]]
    histories: dict[str, pd.DataFrame]
    predictions: dict[str, pd.DataFrame]  # of the test part and of images that are shown
    confusions: pd.DataFrame
    errors: pd.DataFrame  # those that are shown one by one
    heat: Array | Shards  # uint8 (E, 2, h, w): row i of errors, its predicted and its true class
    suspects: pd.DataFrame
    reliability: dict[str, pd.DataFrame]
    risk_coverage: dict[str, pd.DataFrame]
    points: pd.DataFrame  # of the t-SNE
    pictures: dict[str, bytes]
    digests: list[tuple[str, int, str]] = field(repr=False)

    @property
    def index(self) -> dict[str, pd.DataFrame]:
        """The table of the images of each part."""
        return {name: part.index for name, part in self.parts.items()}

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
    errors, points = _read_errors(root / "data/predictions"), _read_names(root / "plots/tsne.csv")
    shown = shown_ids(errors, points)
    return Inputs(
        params=(root / "params.yaml").read_text(encoding="utf-8"),
        classes=read_classes(root / "data/split"),
        parts={part: _read_part(root / "data/split", part) for part in SPLITS},
        rejected=_read_names(root / "data/split/rejected.csv"),
        metrics={
            name: json.loads((root / f"metrics/{name}.json").read_text(encoding="utf-8"))
            for name in ("split", *MODELS, "comparison", "errors", "tsne")
        },
        histories={model: pd.read_csv(root / f"plots/{model}_history.csv") for model in MODELS},
        predictions={
            model: _read_predictions(root / f"data/predictions/{model}.csv", shown=shown)
            for model in MODELS
        },
        confusions=_read_names(root / "plots/confusions.csv"),
        errors=errors,
        heat=read_array(root / "data/predictions/gradcam.npy"),
        suspects=_read_names(root / "data/predictions/suspects.csv"),
        reliability=_read_curves(root, "reliability"),
        risk_coverage=_read_curves(root, "risk_coverage"),
        points=points,
        pictures={name: (root / f"plots/{name}.png").read_bytes() for name in PICTURES},
        digests=[digest(root, name) for name in sorted(MADE_BY)],
    )


def _read_curves(root: Path, name: str) -> dict[str, pd.DataFrame]:
    return {model: pd.read_csv(root / f"plots/{name}_{model}.csv") for model in MODELS}


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
    """Name, size in bytes and MD5 of a file: DVC names what it keeps by MD5."""
    path = root / name
    return name, path.stat().st_size, file_digest(path, "md5")


def _read_part(folder: Path, name: str) -> Dataset:
    images, table = folder / f"{name}.npy", folder / f"{name}.csv"
    columns = [column for column in pd.read_csv(table, nrows=0) if column not in NOT_SHOWN]
    part = Dataset(read_array(images), read_index(table, columns))
    check_rows(part.images, part.index, images, stage="split")
    return part


def _read_errors(folder: Path) -> pd.DataFrame:
    """The errors with a heat map, in the order of the maps.

    Raises:
        InputError: if one of them is not in errors.csv.
    """
    shown = _read_names(folder / "gradcam.csv")
    some = _read_names(folder / "errors.csv", ERRORS, chunksize=ROWS)
    errors = shown.merge(pd.concat([shown.merge(rows) for rows in some]))
    if len(errors) != len(shown):
        raise InputError(
            f"{folder}/gradcam.csv: expected images and models of errors.csv. Received: "
            f"{len(shown)}, of which {len(errors)} are there. Run `dvc repro evaluate`."
        )
    return errors


def shown_ids(errors: pd.DataFrame, points: pd.DataFrame) -> set[str]:
    """The images that the page can show: the points of the t-SNE, errors and their neighbours.

    However large the set is, these are not more than parameters say.
    """
    return {*points["id"], *errors[["id", *NEIGHBOUR_COLUMNS]].to_numpy().ravel()}


def _read_predictions(path: Path, *, shown: set[str]) -> pd.DataFrame:
    """The predictions of the test part, for the tables, and of images that are shown."""
    some = _read_names(path, PREDICTED, chunksize=ROWS)
    kept = [rows[(rows["split"] == "test") | rows["id"].isin(shown)] for rows in some]
    return pd.concat(kept, ignore_index=True)


def _read_names(path: Path, columns: Sequence[str] | None = None, **options: Any) -> Any:
    """A CSV whose names stay text, also a class called `1` or `None`."""
    types = dict.fromkeys(TEXTS, str)
    return pd.read_csv(path, dtype=types, usecols=columns, keep_default_na=False, **options)
