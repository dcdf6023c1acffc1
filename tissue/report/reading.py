"""The results that the page shows, read once; missing files are reported with their stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from tissue.common.errors import InputError
from tissue.common.files import file_digest, read_json, reading
from tissue.common.names import MODELS, SPLITS
from tissue.data.index import IMAGE, Dataset, check_rows, read_classes, read_index
from tissue.data.shards import Array, Shards, read_array
from tissue.error_analysis.table import NEIGHBOUR_COLUMNS

PICTURES = {
    **dict.fromkeys(("samples_train", "samples_test", "data_checks"), "split"),
    **dict.fromkeys(("tsne_train", "tsne_test", "tsne_joint", "tsne_pixels"), "tsne"),
}
FILES = {
    "split": (
        "metrics/split.json", "data/split/classes.json", "data/split/rejected.csv",
        *(f"data/split/{name}.{ending}" for name in SPLITS for ending in ("csv", "npy")),
    ),
    **{
        f"train_{model}": (f"plots/{model}_history.csv", f"data/models/{model}.keras")
        for model in MODELS
    },
    "evaluate": (
        *(f"data/predictions/{name}.csv" for name in (*MODELS, "errors", "gradcam", "suspects")),
        *(f"metrics/{name}.json" for name in (*MODELS, "comparison", "errors")),
        *(f"plots/{name}_{model}.csv" for name in ("reliability", "risk_coverage", "ranking")
          for model in MODELS),
        *(f"data/predictions/confused_{name}.csv" for name in ("causes", "measures")),
        "data/predictions/gradcam.npy", "plots/confusions.csv",
    ),
    "tsne": ("metrics/tsne.json", "plots/tsne.csv"),
    "audit": ("metrics/audit.json", "plots/audit.csv", "plots/learning_curve.csv"),
}  # fmt: skip
# The stage that writes each file.
MADE_BY = {
    **{name: stage for stage, names in FILES.items() for name in names},
    **{f"plots/{name}.png": stage for name, stage in PICTURES.items()},
}

TEXTS = (
    "id", "split", "class", "actual", "predicted", "model", "reason", "cause", "sentence",
    "suggested", *NEIGHBOUR_COLUMNS,
)  # fmt: skip
# Of tables with one row per image, only what is shown is read.
PREDICTED = ("id", "split", "class", "predicted", "confidence")
ERRORS = (
    "model", "id", "class", "predicted", "confidence", "margin", "cause", "sentence",
    *NEIGHBOUR_COLUMNS,
)  # fmt: skip
NOT_SHOWN = ("sha256", "source")
ROWS = 10_000  # of a large table in memory at once


@dataclass(frozen=True)
class Inputs:
    """What the other stages wrote, by file name without ending."""

    params: str
    classes: list[str]
    datasets: dict[str, Dataset]
    rejected: pd.DataFrame
    metrics: dict[str, dict[str, Any]]
    histories: dict[
        str, pd.DataFrame
    ]  # by epoch; of the pretrained model only if it was fine-tuned
    penalties: pd.DataFrame  # of the head of the pretrained model
    predictions: dict[str, pd.DataFrame]  # of test images and of images that are shown
    confusions: pd.DataFrame
    errors: pd.DataFrame  # those that are shown one by one
    heat: Array | Shards  # uint8 (E, 2, h, w): row i of errors, its predicted and its true class
    suspects: pd.DataFrame
    confused_causes: pd.DataFrame  # of each frequent confusion, see `describe_confusions`
    confused_measures: pd.DataFrame
    reliability: dict[str, pd.DataFrame]
    risk_coverage: dict[str, pd.DataFrame]
    ranking: dict[str, pd.DataFrame]
    points: pd.DataFrame  # of the t-SNE
    audited: pd.DataFrame  # accuracy of all that the audit cross-validated, worst first
    learning_curve: pd.DataFrame
    pictures: dict[str, bytes]
    digests: list[tuple[str, int, str]]  # name, bytes and MD5, by which DVC knows files

    @property
    def index(self) -> dict[str, pd.DataFrame]:
        """The table of the images of each split."""
        return {name: dataset.index for name, dataset in self.datasets.items()}

    def tested(self, model: str) -> pd.DataFrame:
        """Return the predictions of a model on the test images, one row per image."""
        frame = self.predictions[model]
        return frame[frame["split"] == "test"]

    @property
    def is_phantom(self) -> bool:
        """Whether the images were drawn by the project itself."""
        return self.metrics["split"]["source"] == "phantom"


def read_inputs(root: Path) -> Inputs:
    """Read the results below `root`.

    Raises:
        InputError: if files are missing; the message names them and their stages.
    """
    _check_complete(root)
    split, predictions, plots = root / "data/split", root / "data/predictions", root / "plots"
    errors, points = _read_errors(predictions), _read_names(plots / "tsne.csv")
    shown = shown_ids(errors, points)
    histories = _of_models(plots, "{}_history.csv")
    tuned = histories["pretrained"].query("phase == 2")
    return Inputs(
        params=(root / "params.yaml").read_text(encoding="utf-8"),
        classes=read_classes(split),
        datasets={name: _read_dataset(split, name) for name in SPLITS},
        rejected=_read_names(split / "rejected.csv"),
        metrics=_read_metrics(root / "metrics"),
        histories={"scratch": histories["scratch"]} | ({"pretrained": tuned} if len(tuned) else {}),
        penalties=histories["pretrained"].query("phase == 1"),
        predictions={
            model: _read_predictions(predictions / f"{model}.csv", shown=shown) for model in MODELS
        },
        confusions=_read_names(plots / "confusions.csv"),
        errors=errors,
        heat=read_array(predictions / "gradcam.npy"),
        suspects=_read_names(predictions / "suspects.csv"),
        confused_causes=_read_numbers(predictions / "confused_causes.csv"),
        confused_measures=_read_numbers(predictions / "confused_measures.csv"),
        reliability=_of_models(plots, "reliability_{}.csv"),
        risk_coverage=_of_models(plots, "risk_coverage_{}.csv"),
        ranking=_of_models(plots, "ranking_{}.csv"),
        points=points,
        audited=_read_numbers(plots / "audit.csv"),
        learning_curve=_read_numbers(plots / "learning_curve.csv"),
        pictures={name: _read_picture(plots / f"{name}.png") for name in PICTURES},
        digests=_digests(root),
    )


def _digests(root: Path) -> list[tuple[str, int, str]]:
    names = sorted(["params.yaml", *MADE_BY])
    return [(name, (root / name).stat().st_size, file_digest(root / name, "md5")) for name in names]


def _of_models(plots: Path, form: str) -> dict[str, pd.DataFrame]:
    return {model: _read_numbers(plots / form.format(model)) for model in MODELS}


def _read_metrics(folder: Path) -> dict[str, dict[str, Any]]:
    names = ("split", *MODELS, "comparison", "errors", "tsne", "audit")
    return {name: read_json(folder / f"{name}.json") for name in names}


def _check_complete(root: Path) -> None:
    missing = [name for name in sorted(MADE_BY) if not (root / name).is_file()]
    if missing:
        described = ", ".join(f"{name} (stage {MADE_BY[name]})" for name in missing)
        stages = " ".join(sorted({MADE_BY[name] for name in missing}))
        raise InputError(
            f"The report expected all results of the other stages. Received: no {described}. "
            f"Run `dvc repro {stages}`."
        )


def _read_dataset(folder: Path, name: str) -> Dataset:
    images, table = folder / f"{name}.npy", folder / f"{name}.csv"
    columns = [column for column in _read_names(table, nrows=0) if column not in NOT_SHOWN]
    dataset = Dataset(read_array(images), read_index(table, columns))
    check_rows(dataset.images, dataset.index, images, dimensions=IMAGE, stage="split")
    return dataset


def _read_errors(folder: Path) -> pd.DataFrame:
    """Return the errors with a heat map, in the order of the maps, with `whole` and `crops`."""
    shown = _read_names(folder / "gradcam.csv")
    for branch in ("whole", "crops"):  # empty for a network without branches
        shown[branch] = pd.to_numeric(shown[branch])
    some = _read_names(folder / "errors.csv", ERRORS, chunksize=ROWS)
    keys = shown[["model", "id"]]
    errors = shown.merge(pd.concat([keys.merge(rows) for rows in some]))
    if len(errors) != len(shown):
        raise InputError(
            f"{folder}/gradcam.csv: expected images and models of errors.csv. Received: "
            f"{len(shown)}, of which {len(errors)} are there. Run `dvc repro evaluate`."
        )
    return errors


def shown_ids(errors: pd.DataFrame, points: pd.DataFrame) -> set[str]:
    """Return the images that the page can show: points of the t-SNE, errors and their neighbours.

    Parameters limit their number, however large the set is.
    """
    return {*points["id"], *errors[["id", *NEIGHBOUR_COLUMNS]].to_numpy().ravel()}


def _read_predictions(path: Path, *, shown: set[str]) -> pd.DataFrame:
    """Return the predictions of the test images, for the tables, and of images that are shown."""
    some = _read_names(path, PREDICTED, chunksize=ROWS)
    kept = [rows[(rows["split"] == "test") | rows["id"].isin(shown)] for rows in some]
    return pd.concat(kept, ignore_index=True)


def _read_numbers(path: Path) -> pd.DataFrame:
    """Read a table in which only numbers may be missing."""
    table = _read_names(path)
    texts = {*TEXTS, "measure", "curve", "what"}
    return table.assign(**{name: pd.to_numeric(table[name]) for name in table if name not in texts})


def _read_names(path: Path, columns: Sequence[str] | None = None, **options: Any) -> Any:
    """Read a CSV whose names stay text, also a class called `1` or `None`."""
    types = dict.fromkeys(TEXTS, str)
    with reading(path):
        return pd.read_csv(path, dtype=types, usecols=columns, keep_default_na=False, **options)


def _read_picture(path: Path) -> bytes:
    with reading(path), Image.open(path) as picture:
        picture.verify()
    return path.read_bytes()
