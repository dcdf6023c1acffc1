"""Derive the numbers of a run again from its predictions, without images, models or TensorFlow."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tissue.common.errors import InputError
from tissue.common.files import flat_metrics, read_json, write_table
from tissue.common.names import MODELS, SPLITS
from tissue.config.schema import Params
from tissue.data.index import read_classes, read_index
from tissue.metrics.calibration import reliability, risk_coverage
from tissue.metrics.classification import measure_models
from tissue.metrics.intervals import Sampling
from tissue.metrics.predictions import class_shares, confusions
from tissue.metrics.ranking import ranking_curves

PREDICTIONS = Path("data/predictions")
SPLIT = Path("data/split")
NEEDED = [PREDICTIONS, *(SPLIT / f"{name}.csv" for name in SPLITS), SPLIT / "classes.json"]
ERRORS = Path("metrics/errors.json")
DERIVED = ("comparison", *MODELS)  # files of metrics
PLOTTED = ("reliability", "risk_coverage", "ranking")  # tables of each model
# Files in Git and tables of DVC that are read
READ = [
    ERRORS, *(Path(f"metrics/{name}.json") for name in DERIVED), Path("plots/confusions.csv"),
    *(Path(f"plots/{kind}_{name}.csv") for kind in PLOTTED for name in MODELS),
]  # fmt: skip
TABLES = [*NEEDED[1:], *(PREDICTIONS / f"{name}.csv" for name in (*MODELS, "errors"))]
# Metrics have four decimals, and probabilities in tables six digits.
ROUNDING = 2e-4
LARGEST = 1e300


class Claims(NamedTuple):
    """What of a run agrees, one line each; and what does not, or is missing."""

    agree: list[str]
    differ: list[str]


def derive(params: Params, root: Path) -> Claims:
    """Measure the predictions of a run again, and compare with its metrics and tables.

    Raises:
        InputError: if a table that this takes is missing.
    """
    for path in NEEDED:
        if not (root / path).exists():
            raise InputError(
                f"{root / path}: expected what the numbers are derived from. Received: nothing. "
                "Run `make pull` there."
            )
    classes = read_classes(root / SPLIT)
    images = {name: read_index(root / SPLIT / f"{name}.csv") for name in SPLITS}
    tables = {name: read_index(root / PREDICTIONS / f"{name}.csv") for name in MODELS}
    for name, table in tables.items():
        _check_rows(table, images, root / PREDICTIONS / f"{name}.csv")
    claimed = {name: _read(root / f"metrics/{name}.json") for name in DERIVED}
    derived = measure_models(
        tables, images, classes=classes,
        parameters={name: claimed[name].get("parameters", 0) for name in MODELS},
        sampling=Sampling(params.evaluate.bootstrap, params.seed),
    )  # fmt: skip
    claims = Claims([], [])
    _add_probabilities(claims, tables)
    for name in DERIVED:
        _add_metrics(claims, name, flat_metrics(claimed[name]), flat_metrics(derived[name]))
    tests = {name: table[table["split"] == "test"] for name, table in tables.items()}
    _add_tables(claims, tests, images["test"], classes, root)
    _add_causes(claims, tests, root)
    return claims


def _add_metrics(claims: Claims, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    wrong = [key for key in sorted({*old, *new}) if not _is_same(old.get(key), new.get(key))]
    claims.agree.append(f"metrics/{name}.json: {len(new.keys() - set(wrong))} numbers")
    claims.differ.extend(
        f"metrics/{name}.json, {key}: it says {old.get(key)}, the predictions give {new.get(key)}"
        for key in wrong
    )


def _add_probabilities(claims: Claims, tables: Mapping[str, pd.DataFrame]) -> None:
    """Compare the answers of each table with its probabilities, which have to sum to 1."""
    for name, table in tables.items():
        path, (names, shares) = f"{PREDICTIONS}/{name}.csv", class_shares(table)
        problems = {
            "probabilities that do not sum to 1": np.abs(shares.sum(axis=1) - 1) > ROUNDING,
            "answers other than the most probable": names[shares.argmax(axis=1)]
            != table["predicted"].to_numpy(),
            "confidences other than its probability": np.abs(
                shares.max(axis=1) - table["confidence"].to_numpy()
            )
            > ROUNDING,
        }
        wrong = [f"{path}: {found.sum()} {what}" for what, found in problems.items() if found.any()]
        claims.differ.extend(wrong)
        if not wrong:
            claims.agree.append(f"{path}: {len(table)} answers")


def _add_tables(
    claims: Claims,
    tests: Mapping[str, pd.DataFrame],
    images: pd.DataFrame,
    classes: Sequence[str],
    root: Path,
) -> None:
    tables = {"confusions": confusions(tests)}
    for name, table in tests.items():
        tables[f"reliability_{name}"] = reliability(table, images)
        tables[f"risk_coverage_{name}"] = risk_coverage(table, images)
        tables[f"ranking_{name}"] = ranking_curves(table, classes)
    for name, table in tables.items():
        path = root / f"plots/{name}.csv"
        with tempfile.TemporaryDirectory() as folder:
            write_table(table, Path(folder) / path.name)
            new = read_index(Path(folder) / path.name)
        old = read_index(path) if path.exists() else pd.DataFrame()
        try:
            pd.testing.assert_frame_equal(old, new, rtol=0, atol=ROUNDING)
            claims.agree.append(f"plots/{path.name}: {new.size} cells")
        except AssertionError as error:
            claims.differ.append(f"plots/{path.name}: {' '.join(str(error).split())}")


def _add_causes(claims: Claims, tests: Mapping[str, pd.DataFrame], root: Path) -> None:
    """Compare the table of errors with the predictions, and metrics/errors.json with the table."""
    explained, summary = read_index(root / PREDICTIONS / "errors.csv"), _read(root / ERRORS)
    count = 0
    for name, table in tests.items():
        listed = explained[explained["model"] == name]
        wrong = table.loc[table["class"] != table["predicted"], ["id", "class", "predicted"]]
        if set(wrong.itertuples(index=False)) != set(listed[list(wrong)].itertuples(index=False)):
            claims.differ.append(f"{PREDICTIONS}/errors.csv: not the errors of {name}.csv")
        claimed = {cause: found["errors"] for cause, found in summary[name]["causes"].items()}
        counted = listed["cause"].value_counts()
        for cause, number in claimed.items():
            count += 1
            if number != counted.get(cause, 0):
                claims.differ.append(
                    f"{ERRORS}, {name}.causes.{cause}.errors: it says {number}, errors.csv gives "
                    f"{counted.get(cause, 0)}"
                )
    claims.agree.append(f"{ERRORS}: {count} counts of causes")


def _check_rows(table: pd.DataFrame, images: Mapping[str, pd.DataFrame], path: Path) -> None:
    wanted = pd.concat(images, names=["split"]).reset_index("split")[["id", "split", "class"]]
    received = table[list(wanted)]
    if not received.reset_index(drop=True).equals(wanted.reset_index(drop=True)):
        raise InputError(
            f"{path}: expected one row for each of the {len(wanted)} images of {SPLIT}, in their "
            f"order and with their class. Received: {len(received)} rows, which are not these."
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except OSError as error:
        raise InputError(f"{path}: expected metrics in JSON. Received: {error}.") from None


def _is_same(old: Any, new: Any) -> bool:
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        # From an integer of any length, as JSON may hold, no difference to a float need exist.
        return abs(old) < LARGEST and abs(old - new) <= ROUNDING
    return old == new
