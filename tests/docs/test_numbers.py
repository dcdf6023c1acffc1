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
RECIPES = (
    "original recipe, from scratch", "original recipe, pretrained", "guide of Keras, frozen",
    "guide of Keras, fine-tuned", "colour histogram and SVM",
)  # fmt: skip
# Of each document and result: what it prints, and where this stands.
QUOTED: dict[tuple[str, str, float], dict[str, str]] = {
    ("README.md", "atlas", 100): {
        "pretrained model has # % (# to # %)": "**pretrained, ours** | **#** | # to # |",
    },
    ("README.md", "ceiling", 1): {
        "ceiling.md)) | | | # % |": "| all | ~ | #% |",
        "ceiling.md)) | | | ~ % | # % |": "| over tissues | ~ | #% |",
        "ceiling.md)) | | | ~ % | ~ % | # % |": "| over systems | ~ | #% |",
        "# of the ~ errors of the pretrained model": "| pretrained | ~ | ~ | # |",
    },
    ("docs/models.md", "atlas", 100): {
        "**ours, from scratch** | **# %** (# to #)": "| **from scratch, ours** | **#** | # to # |",
        "**ours, pretrained, frozen** | **# %** (# to #)": "**pretrained, ours** | **#** | # to #",
        **{f"| {recipe} | # % (# to #) |": f"| {recipe} | # | # to # |" for recipe in RECIPES},
    },
    ("docs/models.md", "finetune", 100): {
        "frozen** | **~ %** (~ to ~) | # % (# to #) |": "default of today has # (# to #)",
    },
    ("docs/models.md", "accuracy", 1): {
        "| **ours, pretrained, fine-tuned** | | **# %** (# to #) |":
            "| **ours, fine-tuned** | **# %** | # to # % |",
        "| colour histogram and SVM | ~ % (~ to ~) | # % (# to #) |":
            "| colour histogram and SVM | # % | # to # % |",
        "has # %, against ~ % for a linear probe": "**ours, fine-tuned** | **# %**",
        "has ~ %, against # % for a linear probe": "| linear probe of the frozen backbone | # %",
    },
    ("docs/models.md", "scratch", 1): {
        "fine stem | loss #": "| 16 to 128 | two 3x3 and maximum | ~ | ~ | ~ | ~ | # |",
        "small images first | accuracy #": "**64 px ~ %, 88 px ~ %, 112 px ~ %** | ~ | #",
        "small images first | accuracy ~ instead of #": "| 112 px alone | ~ | #",
        "mean of the weights | loss # instead of ~": "constant rate** | 60 | ~ | #",
        "mean of the weights | loss ~ instead of #": "| best epoch, cosine | 60 | ~ | #",
        "the tissue | accuracy # instead of #": "decides: # instead of #",
        "dropout, stain jitter | loss #": "**default of then** | **~** | ~ | **#** |",
        "dropout, stain jitter | loss ~ instead of # and ~": "| no dropout | ~ | ~ | # |",
        "dropout, stain jitter | loss ~ instead of ~ and #": "| no stain jitter | ~ | ~ | # |",
    },
    ("docs/models.md", "features", 1): {
        "crops | # instead of ~": "| 2 views and 4 crops | # |",
        "crops | ~ instead of #": "| 2 views, no crops | # |",
        "no gain is shown: # points (# to #)": "no gain is shown: # points (# to #,",
        "EfficientNet-Lite0 | # instead of ~": "| **EfficientNet-Lite0** | **16** | **#** |",
        "EfficientNet-Lite0 | ~ instead of #": "drawn textures | 32 | # |",
        "stride 16 alone | ~ instead of # with both": "| EfficientNet-Lite0 | 16, 32 | # |",
        "with both strides and # with": "| EfficientNet-Lite0 | 32 | # |",
    },
    ("docs/models.md", "head", 1): {
        "optimum | # instead of ~": "| atlas, optimum | # |",
        "optimum | ~ instead of #": "| atlas, by steps | # |",
        "validation, too | # instead of": "| **atlas, and validation** | **#** |",
    },
    ("docs/models.md", "imbalance", 100): {
        "names # % of their images instead of ~ %, of the others # %":
            "| **logit_adjusted** | # | # |",
        "names ~ % of their images instead of # %, of the others ~ % instead of # %":
            "| none | # | # |",
    },
    ("docs/predicting.md", "novelty", 1): {
        "or antibodies | # % of ~ (# to #) |": "Phantom: known #% (#% to #%)",
        "or antibodies | ~ % of ~ (~ to ~) | # % of ~ (# to #) |": "Atlas: known #% (#% to #%)",
        "| cerebellum, drawn | # % of # |": "cerebellum #% of #",
        "| testis | # % of # |": "cerebellum ~% of ~, testis #% of #",
        "| thyroid | # % of # |": "testis ~% of ~, thyroid #% of #",
        "| testis | ~ % of ~ | # % of # |": "Atlas: known ~% (~% to ~%), testis #% of #",
        "against known | # (# to #) | # (# to #) |":
            "(in use) | # (# to #) | ~% (~% to ~%) | # (# to #) |",
    },
    ("docs/predicting.md", "drawings", 1): {
        "refuses # %": "aim** of a fifth: # % of the grey cores",
        "names the organ of # % (# to # %)": "| all | ~ | #% (#% to #%) |",
        "# of the # that it answers": "# of # grey ones",
    },
    ("docs/predicting.md", "portable", 1): {
        "takes # s of processor time": "takes # s instead of ~ s",
    },
    ("docs/data.md", "duplicates", 1): {
        "All of # planted copies": "| copies, all | # |",
        "and # planted leaks": "by copy or donor | # |",
        "appears to be # %": "(a random split) | # % |",
    },
    ("docs/data.md", "copies", 100): {
        "compressed, # % of ~ drawn": "--share ~` | ~ | ~ | # (",
        "and # % of ~ real ones": "gray.zip --copies ~ --share ~` | ~ | ~ | # (",
    },
    ("docs/data.md", "in_place", 1): {"of 200 MB write # MB": "| false | ~ (~) | # |"},
    ("docs/data.md", "padding", 1): {
        "moves up to # points of accuracy": "# points of accuracy come and go with the aspect",
    },
    ("docs/slides.md", "cores", 1): {"# % of the places": "turned by 5 degrees | ~ | #% |"},
    ("docs/why-misclassified.md", "gradcam", 1): {
        "log odds by # (pretrained)": "| pretrained | # (",
        "(pretrained) and # (from scratch)": "| scratch | # (",
    },
    ("docs/why-misclassified.md", "causes", 1): {
        "list of suspects holds # of # labels": "it holds # of #, all",
        "wrong labels, # % of the list are wrong, and it holds # % of all":
            "of which # % were wrong, and # % of all",
    },
}  # fmt: skip
QUOTATIONS = [
    Quotation(document, pattern, file, source, times)
    for (document, file, times), quoted in QUOTED.items()
    for pattern, source in quoted.items()
]


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
