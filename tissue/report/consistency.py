"""Whether results that no digest describes are those of one run, before they are put on a page.

Started by hand without a dvc.lock, `report` has nothing to compare files with but each other.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import reading
from tissue.common.names import MODELS
from tissue.config.schema import Params
from tissue.error_analysis.summary import CAUSE_COLUMNS, LEAST, MEASURE_COLUMNS, MEASURES
from tissue.metrics.derived import ROUNDING, derive
from tissue.report.reading import Inputs, read_inputs

SHOWN = 3  # differences in a message
CURVE = ("groups", "accuracy", "low", "high", "fitted")
CHANCE = "chance"  # of plots/audit.csv, beside what was cross-validated
PAIR = ["model", "actual", "predicted"]


def check_results(params: Params, root: Path) -> None:
    """Check that results agree: numbers with predictions, and counts and names with each other.

    Raises:
        InputError: naming the first that do not.
    """
    inputs = read_inputs(root)
    _check_models(root)
    differ = [
        *derive(params, root).differ,
        *_compare_counts(inputs),
        *_compare_audit(inputs),
        *_compare_confused(inputs, root),
        *_compare_epochs(inputs, params),
    ]
    if differ:
        more = f", and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        raise InputError(
            "expected results of one run, since no dvc.lock describes them here. Received: "
            f"{'; '.join(differ[:SHOWN])}{more}. Run `dvc repro`, which makes and compares them."
        )


def _check_models(root: Path) -> None:
    for model in MODELS:
        path = root / f"data/models/{model}.keras"
        with reading(path), zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise ValueError(f"a damaged {damaged}")


def _differing(what: str, said: Any, found: Any, where: str) -> Iterator[str]:
    if said != found:
        yield f"{what}: it says {said}, {where} gives {found}"


def _compare_counts(inputs: Inputs) -> Iterator[str]:
    """Compare numbers of images, of suspects and of points with the tables that list them."""
    split, errors, tsne = (inputs.metrics[name] for name in ("split", "errors", "tsne"))
    sizes = {name: len(index) for name, index in inputs.index.items()}
    counts = {"images": sizes, "classes": len(inputs.classes), "rejected": len(inputs.rejected)}
    said = {name: split.get(name) for name in counts}
    yield from _differing("metrics/split.json", said, counts, "data/split")
    listed = inputs.suspects["split"].value_counts()
    found = {
        name: {"images": size, "suspects": int(listed.get(name, 0))} for name, size in sizes.items()
    }
    yield from _differing(
        "metrics/errors.json, suspects", errors.get("suspects"), found, "suspects.csv"
    )
    yield from _differing(
        "metrics/tsne.json, images", tsne.get("images"), len(inputs.points), "plots/tsne.csv"
    )
    yield from _differing("metrics/tsne.json, classes", "classes" in tsne, True, "`tsne`")
    images = pd.concat(inputs.index, names=["split"]).reset_index("split")
    for name, table in (("plots/tsne.csv", inputs.points), ("suspects.csv", inputs.suspects)):
        known = table[["id", "split", "class"]].merge(images[["id", "split", "class"]])
        yield from _differing(f"{name}, images of data/split", len(table), len(known), "a join")


def _compare_audit(inputs: Inputs) -> Iterator[str]:
    """Compare `metrics/audit.json` with the two tables of the audit."""
    audit, curve = inputs.metrics["audit"], inputs.learning_curve
    said = {name: one["accuracy"] for name, one in audit.get("accuracy", {}).items()}
    if said:
        said[CHANCE] = audit.get("chance", 0.0)
    found = dict(zip(inputs.audited["what"], inputs.audited["accuracy"], strict=True))
    if said.keys() != found.keys() or any(abs(said[key] - found[key]) > ROUNDING for key in said):
        yield f"metrics/audit.json, accuracy: it says {said}, plots/audit.csv gives {found}"
    yield from _differing("plots/learning_curve.csv, columns", tuple(curve), CURVE, "`audit`")
    most = int(curve["groups"].iloc[-1]) if len(curve) and "groups" in curve else None
    groups = audit.get("learning_curve", {}).get("groups")
    yield from _differing(
        "metrics/audit.json, learning_curve.groups", groups, most, "plots/learning_curve.csv"
    )


def _compare_confused(inputs: Inputs, root: Path) -> Iterator[str]:
    """Compare the tables of frequent confusions with the errors."""
    causes, measures = inputs.confused_causes, inputs.confused_measures
    if (tuple(causes), tuple(measures)) != (CAUSE_COLUMNS, MEASURE_COLUMNS):
        yield "confused_causes.csv, confused_measures.csv: other columns than those of `evaluate`"
        return
    text = dict.fromkeys(("model", "class", "predicted", "cause"), str)
    errors = pd.read_csv(
        root / "data/predictions/errors.csv", usecols=list(text), dtype=text, keep_default_na=False
    )
    counted = errors.rename(columns={"class": "actual"}).value_counts([*PAIR, "cause"])
    of_pair = counted.groupby(PAIR).transform("sum")
    frequent = counted[of_pair >= LEAST].to_dict()
    listed = causes.set_index([*PAIR, "cause"])["errors"].to_dict()
    yield from _differing("confused_causes.csv, errors", listed, frequent, "errors.csv")
    compared = causes[causes["of_correct"] > 0].drop_duplicates(PAIR)[PAIR]
    wanted = compared.merge(pd.DataFrame({"measure": MEASURES}), how="cross")
    same = set(wanted.itertuples(index=False, name=None)) == set(
        measures[list(wanted)].itertuples(index=False, name=None)
    )
    yield from _differing("confused_measures.csv, confusions", same, True, "confused_causes.csv")


def _compare_epochs(inputs: Inputs, params: Params) -> Iterator[str]:
    """Compare the epochs of each training with params.yaml: none stops before the last."""
    wanted = {"scratch": params.scratch.epochs, "pretrained": params.pretrained.fine_tune_epochs}
    for model, epochs in wanted.items():
        found = len(inputs.histories.get(model, ()))
        yield from _differing(f"plots/{model}_history.csv, epochs", found, epochs, "params.yaml")
