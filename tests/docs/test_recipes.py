"""The recipes of CONTRIBUTING.md: each forgotten step is a sentence that names it."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from tests.pipeline import ROOT
from tissue.common.backbones import BACKBONES
from tissue.common.filesystems import EXTRAS
from tissue.common.names import MODELS, TISSUES
from tissue.error_analysis.causes import (
    MOST,
    Quality,
    find_evidence,
    measure_images,
    name_cause,
)
from tissue.error_analysis.recognition import OBSERVED, WAYS
from tissue.error_analysis.table import CAUSES, NONE_FOUND, error_sentence
from tissue.metrics.classification import split_metrics
from tissue.metrics.intervals import Sampling
from tissue.report.formatting import MEASURES
from tissue.report.records import CAUSE_NAMES
from tissue.sources.opening import ALONE
from tissue.sources.remote import GDRIVE

DETAILS = {
    "cases",
    "n",
    "recall",
    "ece_chance",
    "ece_p_value",
    "answered",
}  # of the metrics of a test set, which have places of their own
ERROR = {
    "by_whole": 1.0, "by_crops": -1.0,
    "class": "liver", "predicted": "kidney", "confidence": 0.9, "tissue_fraction": 0.1,
    "typical_tissue": 0.5, "stain_side": "darker", "distance": 2.0, "label_suspicion": 0.9,
    "confusable": 1, "agreeing": 1, "correct": 10, "exceeding": 1,
}  # fmt: skip


def first_column(document: str) -> str:
    """Return the texts of the first column of all tables of a document."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^\| *([^|]+?) *\|", text, re.M))


def words_above(key: str) -> set[str]:
    """Return the words of the comment above a key of params.yaml."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    comment = re.search(rf"((?:^ *#.*\n)+) *{key}:", text, re.M)
    assert comment
    return set(re.findall(r"\w+", comment[1]))


def test_a_backbone() -> None:
    named = first_column("backbones.md").splitlines()
    problems = [f"docs/backbones.md: add a row for {key}" for key in BACKBONES if key not in named]
    offered = words_above("backbone")
    endings = tuple(word for word in offered if word.startswith("_"))
    problems += [
        f"params.yaml: name {key} in the comment of pretrained.backbone"
        for key in BACKBONES
        if key not in offered and not key.endswith(endings)
    ]
    assert not problems, "\n".join(problems)


def test_a_metric() -> None:
    """`evaluate` measures what the page shows, and the committed metrics hold it."""
    classes = sorted(TISSUES)
    # Two images of each class and donor, which are a case
    table = pd.DataFrame({"class": classes, "predicted": classes, "confidence": 0.9})
    table = pd.concat([table] * 2, ignore_index=True)
    names = [f"p_{name}" for name in classes]
    scores = pd.DataFrame(np.tile(np.eye(len(classes)), (2, 1)), columns=names)
    test = split_metrics(
        table.join(scores), table["class"], classes=classes, sampling=Sampling(100, 0)
    )
    returned = measures(test)
    problems = [
        f"tissue/report/formatting.py: add {key} of split_metrics to MEASURES"
        for key in sorted(returned - set(MEASURES))
    ]
    problems += [
        f"tissue/metrics/classification.py: split_metrics should return {key}, which MEASURES "
        "of tissue/report/formatting.py names"
        for key in sorted(set(MEASURES) - returned)
    ]
    for model in MODELS:
        committed = json.loads((ROOT / f"metrics/{model}.json").read_text(encoding="utf-8"))["test"]
        problems += [
            f"metrics/{model}.json: run `dvc repro` and commit it, because of {key}"
            for key in sorted(returned ^ measures(committed))
        ]
    assert not problems, "\n".join(problems)


def measures(test: dict[str, Any]) -> set[str]:
    return {re.sub("_(low|high)$", "", key) for key in test} - DETAILS


def test_a_cause() -> None:
    images = pd.DataFrame(
        {
            "class": ["liver", "liver", "spleen"], "predicted": ["kidney", "liver", "spleen"],
            "label": [4, 4, 11], "split": "test", "distance": 1.0, "label_probability": 0.5,
            "unseen": True, "suspect": False, **dict.fromkeys((*WAYS, *OBSERVED), 1.0),
            "tissue_fraction": 0.5, "blur": 0.5, "haematoxylin": 0.5, "dab": 0.5,
        }
    )  # fmt: skip
    classes = sorted(TISSUES)
    quality = Quality(
        pd.DataFrame(0.0, classes, range(4)).to_numpy(), *([1.0] * 4, [[1, 0], [0, 1]])
    )
    measured = measure_images(images, quality, classes)
    problems = [
        f"tissue/error_analysis/causes.py: measure {cause} in measure_images"
        for cause in CAUSES
        if cause not in measured
    ]
    # Without it find_evidence has nothing to look at.
    measured = measured.assign(**dict.fromkeys(set(CAUSES) - set(measured), 0.0))
    for cause in CAUSES:
        shown = images.assign(suspect=True), measured.assign(**{cause: [1e3, 0.0, 0.0]})
        if not find_evidence(*shown)[cause][0] > 0:
            problems.append(f"tissue/error_analysis/causes.py: give {cause} evidence")
        if name_cause({**dict.fromkeys((*CAUSES, *CAUSE_NAMES), 0.0), cause: MOST}) != cause:
            problems.append(f"tissue/error_analysis/causes.py: name {cause} in name_cause")
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
    assert not problems, "\n".join(problems)


def test_a_source() -> None:
    text = (ROOT / "docs/data-sources.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    problems = []
    for kind in sorted(set(EXTRAS.values())):
        if not (ROOT / f"requirements/{kind}.txt").is_file():
            problems.append(f"requirements/{kind}.txt: expected the library that EXTRAS needs")
        if not any(f"requirements/{kind}.txt" in row for row in rows):
            problems.append(f"docs/data-sources.md: add a row with requirements/{kind}.txt")
    offered = {kind for row in rows for kind in re.findall(r"requirements/(\w+)\.txt", row)}
    offered -= {"slides"}  # of a folder, not of a file system
    problems += [
        f"tissue/common/filesystems.py: add the protocol of requirements/{kind}.txt to EXTRAS"
        for kind in sorted(offered - set(EXTRAS.values()) - {GDRIVE.strip(":")})
    ]
    named = words_above("source")
    for kind in sorted(set(EXTRAS.values())):
        if not named & {protocol for protocol, extra in EXTRAS.items() if extra == kind}:
            problems.append(f"params.yaml: name {kind} in the comment of fetch.source")
    for name in (*ALONE, GDRIVE):
        if not any(f"`{name}" in row for row in rows):
            problems.append(f"docs/data-sources.md: add a row for {name}")
    assert not problems, "\n".join(problems)
