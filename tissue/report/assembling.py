"""The page put together: tables, sentences and pictures in one HTML file."""

import base64
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from tissue.common.names import MODEL_NAMES, MODELS, numbered
from tissue.figures.audit import audit_figure, learning_curve_figure
from tissue.figures.curves import (
    history_figure,
    penalty_figure,
    ranking_figure,
    reliability_figure,
    risk_coverage_figure,
)
from tissue.figures.scatter import scatter_figure
from tissue.figures.theme import png_bytes
from tissue.report import audit, ceiling, data, results, sentences, why
from tissue.report.formatting import SPLIT_NAMES, count, percent, render_markdown, render_template
from tissue.report.map import library, map_item
from tissue.report.next_steps import next_steps
from tissue.report.reading import Inputs
from tissue.report.records import as_json, cause_names, omitted_sentence, records

PAPER = Path(__file__).parents[2] / "docs/moen-2019.md"


class Picture(NamedTuple):
    """A PNG as data address, its size in pixels, and a description for those who cannot see it."""

    address: str
    width: int
    height: int
    alt: str


def render(inputs: Inputs, views: Mapping[str, int]) -> str:
    """Return the whole page as HTML; the same inputs give the same text.

    `views` is how many views each model averages.
    """
    known, ranked = records(inputs), sentences.models_by_accuracy(inputs)
    return render_template(
        "report.html.j2",
        inputs=inputs,
        data=data,
        results=results,
        sentences=sentences,
        audit=audit,
        ceiling=ceiling,
        cards={model: why.cards(inputs, model) for model in ranked},
        why=why,
        summary=summary(inputs),
        numbered=numbered,
        steps=next_steps(inputs),
        views=views,
        paper=render_markdown(PAPER.read_text(encoding="utf-8")),
        ranked_models=[(model, MODEL_NAMES[model]) for model in ranked],
        model_names=MODEL_NAMES,
        split_names=SPLIT_NAMES,
        cause_names=cause_names(inputs),
        class_choices=list(enumerate(inputs.classes)),
        pictures=pictures(inputs),
        left_out=omitted_sentence(inputs, known),
        # Script elements hold these unescaped; none of them can end its element.
        records=Markup(as_json(known)),
        map_item=Markup(map_item()),
        library=Markup(library()),
    )


def summary(inputs: Inputs) -> str:
    """Return the size of the data: `360 of 1,080 images of 12 classes`, and if they are drawn."""
    number = count(sum(map(len, inputs.index.values())))
    origin = ", drawn by the phantom, not photographed" if inputs.is_phantom else ""
    tested = count(len(inputs.index["test"]))
    return f"{tested} of {number} images of {len(inputs.classes)} classes{origin}"


def pictures(inputs: Inputs) -> dict[str, Picture]:
    """Return every picture of the page, those of other stages and those drawn here."""
    drawn = {
        "reliability": reliability_figure(inputs.reliability),
        "risk_coverage": risk_coverage_figure(inputs.risk_coverage),
        "ranking": ranking_figure(inputs.ranking),
        "penalties": penalty_figure(inputs.penalties),
        **{f"history_{model}": history_figure(of, model) for model, of in inputs.histories.items()},
    }
    drawn |= audit_figures(inputs)
    drawn |= {
        f"small_{name}": scatter_figure(inputs.points, title="t-SNE", splits=[name], compact=True)
        for name in ("train", "test")
    }
    pngs = inputs.pictures | {name: png_bytes(figure) for name, figure in drawn.items()}
    described, found = alts(inputs), {}
    for name, png in pngs.items():
        address = "data:image/png;base64," + base64.b64encode(png).decode()
        width, height = struct.unpack(">II", png[16:24])  # at a fixed position of the header
        found[name] = Picture(address, width, height, described[name])
    return found


def audit_figures(inputs: Inputs) -> dict[str, Figure]:
    """Return the pictures of what the audit measured; none of what it could not."""
    measured, group = inputs.metrics["audit"], data.group_word(inputs)
    figures = {}
    if "accuracy" in measured:
        figures["audit"] = audit_figure(inputs.audited, group=group)
    if "learning_curve" in measured:
        figures["learning_curve"] = learning_curve_figure(
            inputs.learning_curve, measured["learning_curve"]["fit"], group=group
        )
    return figures


def alts(inputs: Inputs) -> dict[str, str]:
    """Return a description of each picture."""
    rows = f"one row each for {', '.join(inputs.classes)}."
    tsne = "t-SNE map of the pretrained features"
    described = {
        "samples_train": f"A few training images of each class, {rows}",
        "samples_test": f"A few test images of each class, {rows}",
        "data_checks": "Images that the checks of the data found: copies, and the images with the "
        "least tissue, the most blur, the weakest and the strongest stains.",
        "tsne_train": f"{tsne}, training images coloured by class.",
        "tsne_test": f"{tsne}, test images coloured by class.",
        "small_train": f"{tsne}, training images coloured by class, without a legend.",
        "small_test": f"{tsne}, test images coloured by class, without a legend.",
        "tsne_joint": f"{tsne}, training and test images coloured by class.",
        "tsne_pixels": "t-SNE map of the raw pixels for comparison, coloured by class.",
        "audit": "Bars of cross-validated accuracy. " + " ".join(audit.audit_sentences(inputs)[:2]),
        "learning_curve": "Accuracy against the number of groups to learn from. "
        + audit.curve_sentence(inputs.metrics["audit"], data.group_word(inputs)),
        "penalties": sentences.penalty_sentence(inputs),
        "reliability": "Accuracy against confidence. "
        + " ".join(sentences.calibration_sentence(inputs, model) for model in MODELS),
        "ranking": "ROC and precision-recall curves of both models, all classes together. The "
        "table of results has the areas below them.",
        "risk_coverage": "Error rate against the share of images answered, for both models. "
        + sentences.coverage_sentence(inputs),
    }
    for model, history in inputs.histories.items():
        last = history.iloc[-1]
        described[f"history_{model}"] = (
            f"Loss and accuracy of the {MODEL_NAMES[model]} over {len(history)} epochs, ending at "
            f"{percent(last['accuracy'])} on {count(len(inputs.index['train']))} training and "
            f"{percent(last['val_accuracy'])} on {count(len(inputs.index['val']))} validation "
            "images; the table of results has intervals."
        )
    return described
