"""The recipes of CONTRIBUTING.md: each forgotten step is a sentence that names it."""

import json
import re

import pandas as pd

from tests.pipeline import ROOT
from tissue.common.backbones import BACKBONES
from tissue.common.filesystems import EXTRAS
from tissue.common.names import MODELS, TISSUES
from tissue.error_analysis.causes import Quality, find_evidence, measure_images
from tissue.error_analysis.table import CAUSES, NONE_FOUND, error_sentence
from tissue.report.formatting import MEASURES
from tissue.report.records import CAUSE_NAMES
from tissue.sources.opening import ALONE
from tissue.sources.remote import GDRIVE

DETAILS = {"n", "recall"}  # of the metrics of a test set, which have places of their own
ERROR = {
    "class": "liver", "predicted": "kidney", "confidence": 0.9, "tissue_fraction": 0.1,
    "typical_tissue": 0.5, "stain_side": "darker", "distance": 2.0, "label_suspicion": 0.9,
    "agreeing": 1, "correct": 10, "exceeding": 1,
}  # fmt: skip


def first_column(document: str) -> str:
    """Return the texts of the first column of all tables of a document."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^\| *([^|]+?) *\|", text, re.M))


def test_a_backbone() -> None:
    named = first_column("backbones.md").splitlines()
    problems = [f"docs/backbones.md: add a row for {key}" for key in BACKBONES if key not in named]
    assert problems == []


def test_a_metric() -> None:
    """The committed metrics of both models hold what `evaluate` measures."""
    problems = []
    for model in MODELS:
        test = json.loads((ROOT / f"metrics/{model}.json").read_text(encoding="utf-8"))["test"]
        measured = {re.sub("_(low|high)$", "", key) for key in test} - DETAILS
        problems += [
            f"tissue/report/formatting.py: add {key} of metrics/{model}.json to MEASURES"
            for key in sorted(measured - set(MEASURES))
        ]
        problems += [
            f"tissue/metrics/classification.py: split_metrics should return {key}, which MEASURES "
            "of tissue/report/formatting.py names (then run `dvc repro`)"
            for key in sorted(set(MEASURES) - measured)
        ]
    assert problems == []


def test_a_cause() -> None:
    images = pd.DataFrame(
        {
            "class": ["liver", "liver", "spleen"], "predicted": ["kidney", "liver", "spleen"],
            "label": [4, 4, 11], "split": "test", "score": 1.0, "label_probability": 0.5,
            "unseen": True, "suspect": False, "tissue_fraction": 0.5, "blur": 0.5,
            "haematoxylin": 0.5, "dab": 0.5,
        }
    )  # fmt: skip
    classes = sorted(TISSUES)
    quality = Quality(
        pd.DataFrame(0.0, classes, range(4)).to_numpy(), *([1.0] * 4, [[1, 0], [0, 1]])
    )
    measured = measure_images(images, quality, classes)
    problems = []
    for cause in CAUSES:
        if cause not in measured:
            problems.append(f"tissue/error_analysis/causes.py: measure {cause} in measure_images")
        elif cause not in find_evidence(images, measured, classes):
            problems.append(f"tissue/error_analysis/causes.py: give {cause} evidence")
    for cause in (*CAUSES, NONE_FOUND):
        try:
            error_sentence({**ERROR, "cause": cause})
        except KeyError:
            problems.append(f"tissue/error_analysis/table.py: error_sentence has no {cause}")
        if cause not in CAUSE_NAMES:
            problems.append(f"tissue/report/records.py: add {cause} to CAUSE_NAMES")
        elif cause != NONE_FOUND and CAUSE_NAMES[cause] not in first_column("why-misclassified.md"):
            problems.append(f"docs/why-misclassified.md: add a row for {CAUSE_NAMES[cause]}")
    unknown = set(CAUSE_NAMES) - {*CAUSES, NONE_FOUND}
    problems += [f"tissue/error_analysis/table.py: add {cause} to CAUSES" for cause in unknown]
    assert problems == []


def test_a_source() -> None:
    text = (ROOT / "docs/data-sources.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    problems = []
    for kind in sorted(set(EXTRAS.values())):
        if not (ROOT / f"requirements/{kind}.txt").is_file():
            problems.append(f"requirements/{kind}.txt: expected the library that EXTRAS needs")
        if not any(f"requirements/{kind}.txt" in row for row in rows):
            problems.append(f"docs/data-sources.md: add a row with requirements/{kind}.txt")
    for name in (*ALONE, GDRIVE):
        if not any(f"`{name}" in row for row in rows):
            problems.append(f"docs/data-sources.md: add a row for {name}")
    assert problems == []
