"""The model card: what a model was trained on, how good it is, and what it is not for.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, arXiv 1810.03993.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tissue.common.files import file_digest, write_text
from tissue.common.names import SPLITS
from tissue.data.index import read_index
from tissue.report.formatting import measure_interval, measures_of, render_template
from tissue.report.reading import Inputs


class Facts(NamedTuple):
    """What the card states.

    `metrics` and `split` are the contents of `metrics/pretrained.json` and `metrics/split.json`;
    `digest` is the SHA-256 of the model.
    """

    source: str
    classes: Sequence[str]
    metrics: Mapping[str, Any]
    split: Mapping[str, Any]
    params: Mapping[str, Any]
    digest: str


def write_card(inputs: Inputs, params: Mapping[str, Any], root: Path) -> None:
    """Write the card of `data/models/pretrained.keras` below `root` beside the model.

    Args:
        inputs: the results below `root`.
        params: what the model was trained with.
        root: the folder that contains `data`.
    """
    model = root / "data/models/pretrained.keras"
    tables = (root / f"data/split/{name}.csv" for name in SPLITS)
    sources = pd.concat([read_index(table, ["source"])["source"] for table in tables])
    facts = Facts(
        source=", ".join(sorted(sources.unique())),
        classes=inputs.classes,
        metrics=inputs.metrics["pretrained"],
        split=inputs.metrics["split"],
        params=params,
        digest=file_digest(model),
    )
    write_text(model_card(facts), model.with_suffix(".md"))


def model_card(facts: Facts) -> str:
    """Return the card as Markdown; the same facts give the same text."""
    test = facts.metrics["test"]
    measures = [
        (
            title,
            f"{test[key]:.3f}",
            measure_interval(test, key, "{:.3f}".format),
        )
        for key, title in measures_of(test, facts.classes).items()
    ]
    accuracies = {
        name: "{accuracy:.3f} ({accuracy_low:.3f} to {accuracy_high:.3f})".format(
            **facts.metrics[name]
        )
        for name in ("train", "val")
    }
    return render_template(
        "card.md.j2", splits=SPLITS, measures=measures, accuracies=accuracies, **facts._asdict()
    )
