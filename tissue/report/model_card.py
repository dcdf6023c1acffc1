"""The model card: what a model was trained on, how good it is, and what it is not for.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, arXiv 1810.03993.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tissue.common.files import atomic_write, file_digest
from tissue.common.names import SPLITS, count_joined
from tissue.data.index import read_index

LICENCE = "Apache-2.0 (code and weights trained here); images keep the licence of their source"
SHARES = (
    ("accuracy", "Accuracy"),
    ("accuracy_10_tissues", "Accuracy over {tissues} tissues"),
    ("accuracy_8_systems", "Accuracy over {systems} organ systems"),
    ("top3_accuracy", "Top-3 accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("macro_f1", "Macro-F1"),
    ("kappa", "Cohen's kappa"),
    ("ece", "Calibration error (ECE, lower is better)"),
)
LIMITS = (
    "Not a medical device: not for diagnosis, nor for any decision about a patient.",
    "It knows only its own classes, and names one of them for whatever it is shown; "
    "`python -m tissue predict` refuses some of what is unlike the training images, not all of it.",
    "Measured on images of the source above; on another stain, scanner or laboratory it will be "
    "worse, and nothing here says by how much.",
)
DESCRIPTION = "A backbone and a head that names the organ of a tissue image, in one file."
HEAD = (
    "A head that names the organ of a tissue image from the features of a backbone, which is a "
    "file of its own: `backbone` and `sha256` below."
)
PHANTOM = (
    "Trained and tested on drawn cores, not on tissue: the numbers say that the pipeline works and "
    "nothing about real images."
)


class Facts(NamedTuple):
    """What the card tells.

    `metrics` and `split` are the contents of `metrics/<model>.json` and `metrics/split.json`;
    `digests` holds the SHA-256 of each file that the card vouches for, by its path.
    """

    name: str
    description: str
    source: str
    classes: Sequence[str]
    metrics: Mapping[str, Any]
    split: Mapping[str, Any]
    params: Mapping[str, Any]
    digests: Mapping[str, str]


def write_card(root: Path, *, params: Mapping[str, Any]) -> None:
    """Write the card of `data/models/pretrained.keras` beside it.

    Args:
        root: the folder that `data` and `metrics` lie in.
        params: what the model was trained with.
    """
    model = root / "data/models/pretrained.keras"
    tables = (root / f"data/split/{name}.csv" for name in SPLITS)
    images = pd.concat([read_index(table, ["class", "source"]) for table in tables])
    metrics, split = (
        json.loads((root / f"metrics/{name}.json").read_text(encoding="utf-8"))
        for name in (model.stem, "split")
    )
    facts = Facts(
        name=model.stem,
        description=HEAD if str(params["backbone"]).endswith(".onnx") else DESCRIPTION,
        source=", ".join(sorted(images["source"].unique())),
        classes=sorted(images["class"].unique()),
        metrics=metrics,
        split=split,
        params=params,
        digests={model.name: file_digest(model)},
    )
    with atomic_write(model.with_suffix(".md")) as partial:
        partial.write_text(model_card(facts), encoding="utf-8")


def model_card(facts: Facts) -> str:
    """The card as Markdown; the same facts give the same bytes."""
    limits = [PHANTOM, *LIMITS] if facts.source == "phantom" else list(LIMITS)
    sections = {
        "Data": _data(facts),
        "Results on the test images": _results(facts),
        "Recall by class": _recall(facts),
        "Limits": "\n".join(f"- {one}" for one in limits),
        "Parameters": _table(("Parameter", "Value"), sorted(facts.params.items())),
        "Files": _table(("File", "SHA-256"), sorted(facts.digests.items())),
        "Licence": f"{LICENCE}.",
    }
    body = [f"## {title}\n\n{text}\n" for title, text in sections.items()]
    return "\n".join([f"# {facts.name}\n\n{facts.description}\n", *body])


def _data(facts: Facts) -> str:
    images, groups = facts.split["images"], facts.split["groups"]
    rows = [(part, images[part], groups[part]) for part in ("train", "val", "test")]
    table = _table(("Part", "Images", "Donors or other groups"), rows)
    shared = groups["shared"]
    return (
        f"Source: {_cell(facts.source)}. Divided by {facts.split['group_rule']}; {shared} groups "
        f"stand in more than one part.\n\n{table}"
    )


def _results(facts: Facts) -> str:
    metrics, joined = facts.metrics, count_joined(facts.classes)
    test = metrics["test"]
    rows = []
    for key, name in SHARES:
        if key not in test:
            continue
        low, high = test.get(f"{key}_low"), test.get(f"{key}_high")
        interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        rows.append((name.format(**joined), f"{test[key]:.3f}", interval))
    return (
        f"{test['n']} images. Intervals resample groups (see Data). In training the accuracy is "
        f"{metrics['train']['accuracy']:.3f}, in validation {metrics['val']['accuracy']:.3f}. "
        f"{metrics['parameters']:,} parameters.\n\n"
        + _table(("Measure", "Value", "95 % interval"), rows)
    )


def _recall(facts: Facts) -> str:
    recall = facts.metrics["test"]["recall"]
    rows = [(one, f"{recall[one]:.3f}" if one in recall else "no image") for one in facts.classes]
    return _table(("Class", "Recall"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return re.sub(r"([\\`*<|])", r"\\\1", str(value)).replace("\n", " ")
