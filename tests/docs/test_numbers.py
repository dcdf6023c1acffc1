"""The numbers of README and docs are those of `metrics/` and `benchmarks/results/`.

In a pattern `#` is a number that is compared and `~` one that is not. Both sides of a quotation are
read from the documents, so a result that is measured again fails here until its quotations follow.
"""

import json
import re
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import pandas as pd
import pytest

from benchmarks import why
from tests.pipeline import ROOT
from tissue.common.names import MODELS

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
RESULTS = "benchmarks/results"


class Metric(NamedTuple):
    """Numbers of `metrics/<file>.json`: shares are floats there, of which percent are printed."""

    document: str
    pattern: str
    file: str
    keys: Sequence[str]


class Quotation(NamedTuple):
    """Numbers of `benchmarks/results/<file>.md`, `times` which they are printed."""

    document: str
    pattern: str
    file: str
    source: str
    times: float = 1


def interval(key: str) -> list[str]:
    """Return the keys of a figure and its interval."""
    return [key, f"{key}_low", f"{key}_high"]


def share(key: str) -> list[str]:
    """Return the keys of an accuracy and its interval, where these are in one object."""
    return [f"{key}.accuracy", f"{key}.low", f"{key}.high"]


HEADLINE = (
    "# % | # % | **# %** (# to # %) | # % | # % |",
    ["train.accuracy", "val.accuracy", *interval("test.accuracy"),
     "test.accuracy_10_tissues", "test.accuracy_8_systems"],
)  # fmt: skip
AUDITED = {
    "share of tissue and blur alone": "tissue_and_blur",
    "colour alone": "colour",
    "all shortcuts together": "all_shortcuts",
    "whole image without crops": "whole_image",
    "**honest: split by group**": "honest",
    "careless: split at random by image": "careless",
}
METRICS = [
    Metric("README.md", f"| CNN from scratch | {HEADLINE[0]}", "scratch", HEADLINE[1]),
    Metric("README.md", f"| pretrained model | {HEADLINE[0]}", "pretrained", HEADLINE[1]),
    Metric("README.md", "~ of the # errors of the pretrained model", "errors",
           ["pretrained.errors"]),
    Metric("README.md", "~ cores, # of them for the test", "split", ["images.test"]),
    Metric("README.md", "name the class in # % (# to # %, # images", "audit",
           [*share("accuracy.all_shortcuts"), "images"]),
    Metric("docs/why-misclassified.md", "No measured cause is left for** # of # errors", "errors",
           ["pretrained.causes.none_found.errors", "pretrained.errors"]),
    Metric("docs/predicting.md", "by how much # test pictures", "onnx", ["pretrained.n"]),
    *(Metric(f"{RESULTS}/ceiling.md", f"| {model} | # | ~", "errors", [f"{model}.errors"])
      for model in MODELS),
    *(Metric(f"{RESULTS}/audit.md", f"| {name} | {form} |", "audit", share(f"accuracy.{key}"))
      for name, key in AUDITED.items()
      for form in ["**# %** (# to #)" if key == "honest" else "# % (# to #)"]),
]  # fmt: skip
WITH_INTERVAL = "# % (# to #)"
QUOTATIONS = [
    Quotation("README.md", "pretrained model has # % (# to # %) on antibodies", "atlas",
              "**pretrained, ours** | **#** | # to #", 100),
]  # fmt: skip


def numbers(document: str, pattern: str) -> list[str]:
    """Return the numbers at `#` where the pattern stands in the document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    part = {"#": f"({NUMBER})", "~": NUMBER}
    regex = "".join(part.get(one, re.escape(one)) for one in re.split("([#~])", pattern))
    found = re.search(re.sub(r"(\\ )+", r"\\s+", regex), text)
    assert found, f"{document}: expected {pattern!r}; change it there or in this test"
    return list(found.groups())


def agrees(printed: str, value: float) -> bool:
    """Return whether a value, rounded to as many digits as are printed, is what is printed."""
    digits = len(printed.partition(".")[2])
    return abs(float(printed.replace(",", "")) - value) <= 0.5 * 10**-digits + 1e-9


def identify(one: Metric | Quotation) -> str:
    """Return the name of a case: where it is printed, and where it comes from."""
    return f"{one.document}: {one.pattern[:30]} <- {one.file}"


@pytest.mark.parametrize("quoted", METRICS, ids=identify)
def test_numbers_of_the_default_run_are_those_of_its_metrics(quoted: Metric) -> None:
    metrics = json.loads((ROOT / f"metrics/{quoted.file}.json").read_text(encoding="utf-8"))
    values = [reduce(lambda part, key: part[key], key.split("."), metrics) for key in quoted.keys]
    expected = [100 * value if isinstance(value, float) else value for value in values]
    printed = numbers(quoted.document, quoted.pattern)
    assert len(printed) == len(expected)
    wrong = [pair for pair in zip(printed, expected, strict=True) if not agrees(*pair)]
    assert not wrong, f"{quoted.document}: {quoted.pattern!r} prints {wrong}, which differ"


@pytest.mark.parametrize("quoted", QUOTATIONS, ids=identify)
def test_numbers_of_benchmarks_are_those_of_their_tables(quoted: Quotation) -> None:
    printed = numbers(quoted.document, quoted.pattern)
    source = numbers(f"{RESULTS}/{quoted.file}.md", quoted.source)
    assert len(printed) == len(source)
    expected = [quoted.times * float(value.replace(",", "")) for value in source]
    wrong = [pair for pair in zip(printed, expected, strict=True) if not agrees(*pair)]
    assert not wrong, f"{quoted.document}: {quoted.pattern!r} prints {wrong}, which differ"


def test_the_tables_of_errors_are_those_of_the_default_run() -> None:
    text = (ROOT / "docs/why-misclassified.md").read_text(encoding="utf-8")
    summary = json.loads((ROOT / "metrics/errors.json").read_text(encoding="utf-8"))
    confusions = pd.read_csv(ROOT / "plots/confusions.csv")
    tables = [why.cause_table(summary, MODELS), why.pair_table(confusions, MODELS)]
    missing = [table for table in tables if table not in text]
    assert not missing, "put what `python -m benchmarks.why` prints in docs/why-misclassified.md"
