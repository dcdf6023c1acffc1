"""Puts the page together: numbers into tables, pictures into data addresses, both into HTML."""

import base64
import struct
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tissue.common.names import MODELS, SPLITS
from tissue.figures.curves import history_figure, reliability_figure, risk_coverage_figure
from tissue.figures.theme import MODEL_COLOURS, png_bytes
from tissue.report import data_tables, error_tables, result_tables
from tissue.report.formatting import PART_NAMES, count, p_value, percent, percentage_points
from tissue.report.map import library, map_item
from tissue.report.reading import Inputs
from tissue.report.records import as_json, omitted_sentence, records
from tissue.report.sentences import (
    MODEL_NAMES,
    best_model,
    confused_pairs,
    overlap_table,
    verdict_sentences,
)

TEMPLATES = Path(__file__).parent / "templates"


class Picture(NamedTuple):
    """A PNG as data address, with its size in pixels so that the page does not jump."""

    address: str
    width: int
    height: int
    alt: str


def render(inputs: Inputs) -> str:
    """The whole page as HTML; the same inputs give the same text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(template_context(inputs))


def template_context(inputs: Inputs) -> dict[str, Any]:
    """Everything the template shows."""
    matrices, known = error_tables.matrices(inputs), records(inputs)
    return {
        "summary": summary(inputs),
        "verdict": verdict_sentences(inputs),
        "accuracies": accuracies(inputs),
        "chance": inputs.index["test"]["class"].value_counts(normalize=True).max(),
        "phantom": inputs.is_phantom,
        "models": MODELS,
        "model_names": MODEL_NAMES,
        "pictures": pictures(inputs),
        "results": result_tables.results_table(inputs),
        "paired": result_tables.paired_table(inputs),
        "difference": accuracy_difference(inputs),
        "recall": result_tables.recall_table(inputs),
        "smallest_class": int(min(result_tables.test_counts(inputs, MODELS[0]).sum(axis=1))),
        "matrices": matrices,
        "confusions": {model: result_tables.confusions_table(inputs, model) for model in MODELS},
        "group_rule": inputs.metrics["split"].get("group_rule", ""),
        "split": data_tables.split_table(inputs),
        "checks": data_tables.checks_table(inputs),
        "rejected": data_tables.rejected_table(inputs),
        "classes": data_tables.class_table(inputs),
        "picture_measures": data_tables.picture_table(inputs),
        "causes": error_tables.causes_table(inputs),
        "cause_names": error_tables.cause_names(inputs),
        "surest_errors": error_tables.surest_errors_table(inputs),
        "suspects": error_tables.suspects_table(inputs),
        "left_out": omitted_sentence(inputs, known),
        "coverage": error_tables.coverage_sentence(inputs),
        "class_choices": list(enumerate(inputs.classes)),
        "matrix_names": [(one.model, one.name) for one in matrices],
        "part_names": PART_NAMES,
        **scripts(known),
        "overlap": [overlap_table(inputs.metrics["tsne"])],
        "params": inputs.params.rstrip(),
        "versions": data_tables.versions_table(),
        "files": data_tables.files_table(inputs),
    }


def scripts(known: dict[str, Any]) -> dict[str, Markup]:
    """What stands inside script elements, where it is not escaped as text; none can end them."""
    return {
        "records": Markup(as_json(known)),
        "map_item": Markup(map_item()),
        "library": Markup(library()),
    }


def summary(inputs: Inputs) -> str:
    """One line on what was looked at: `1,080 images of 12 classes, drawn by the phantom`."""
    number = sum(len(inputs.index[part]) for part in SPLITS)
    origin = ", drawn by the phantom" if inputs.is_phantom else ""
    return f"{count(number)} images of {len(inputs.classes)} classes{origin}"


def accuracies(inputs: Inputs) -> list[dict[str, Any]]:
    """Test accuracy of each model with its interval, the better one first."""
    best = best_model(inputs)
    rows = []
    for model in sorted(MODELS, key=lambda model: model != best):
        test = inputs.metrics[model]["test"]
        share = test["accuracy"]
        low, high = test.get("accuracy_low", share), test.get("accuracy_high", share)
        rows.append({"model": model, "share": share, "low": low, "high": high})
    return rows


def accuracy_difference(inputs: Inputs) -> str:
    """How much more often the pretrained net is right, in points, with its interval."""
    paired = inputs.metrics["comparison"]["test"]
    low, high = paired.get("difference_low"), paired.get("difference_high")
    known = low is not None and high is not None
    between = (
        f", 95% interval {percentage_points(low)} to {percentage_points(high)}" if known else ""
    )
    return (
        f"{percentage_points(paired['difference'])} points{between}; {p_value(paired['p_value'])}"
    )


def pictures(inputs: Inputs) -> dict[str, Picture]:
    """Every picture of the page with its description for those who cannot see it."""
    described = {
        name: embed_picture(inputs.pictures[name], alt) for name, alt in alts(inputs).items()
    }
    for model in MODELS:
        history = inputs.histories[model]
        drawn = history_figure(history, title=MODEL_NAMES[model], colour=MODEL_COLOURS[model])
        last = history.iloc[-1]
        described[f"history_{model}"] = embed_picture(
            png_bytes(drawn),
            f"Loss and accuracy of the {MODEL_NAMES[model]} over {len(history)} epochs, ending at "
            f"{percent(last['accuracy'])} on training and {percent(last['val_accuracy'])} on "
            "validation images.",
        )
    return described | confidence_pictures(inputs)


def confidence_pictures(inputs: Inputs) -> dict[str, Picture]:
    """Reliability and risk-coverage curves of both models."""
    errors = [percent(inputs.metrics[model]["test"]["ece"]) for model in MODELS]
    both = " and ".join(
        f"{error} for the {MODEL_NAMES[model]}" for error, model in zip(errors, MODELS, strict=True)
    )
    return {
        "reliability": embed_picture(
            png_bytes(reliability_figure(inputs.reliability, names=MODEL_NAMES)),
            f"Accuracy against confidence of both models; on average they are apart by {both}.",
        ),
        "risk_coverage": embed_picture(
            png_bytes(risk_coverage_figure(inputs.risk_coverage, names=MODEL_NAMES)),
            "Share of errors against the share of images answered, of both models. "
            + error_tables.coverage_sentence(inputs),
        ),
    }


def alts(inputs: Inputs) -> dict[str, str]:
    """A description for each picture that another stage drew."""
    names = ", ".join(inputs.classes)
    described = {
        f"samples_{part}": f"A few {PART_NAMES[part]} images of each class, one row for "
        f"each of {names}."
        for part in ("train", "test")
    }
    described["data_checks"] = (
        "What the checks of the data found: copies of one picture, and the images with the least "
        "tissue, the most blur, the weakest and the strongest stains."
    )
    for model in MODELS:
        tested = inputs.tested(model)
        right = int((tested["class"] == tested["predicted"]).sum())
        pairs = confused_pairs(tested)
        lead = f"; most often confused: {pairs[0][0]} and {pairs[0][1]}" if pairs else ""
        described[f"confusion_{model}"] = (
            f"Confusion matrix of the {MODEL_NAMES[model]}: {right:,} of {len(tested):,} test "
            f"images on the diagonal{lead}. The numbers follow as a table."
        )
    shown = {"train": "training images", "test": "test images", "joint": "training and test images"}
    for name, which in shown.items():
        described[f"tsne_{name}"] = (
            f"t-SNE map of the deep features, {which} coloured by class; its axes have no unit."
        )
    described["tsne_pixels"] = "t-SNE map of the raw pixels for comparison, coloured by class."
    return described


def embed_picture(png: bytes, alt: str) -> Picture:
    """A PNG as data address; its size stands at a fixed place of its header."""
    width, height = struct.unpack(">II", png[16:24])
    return Picture("data:image/png;base64," + base64.b64encode(png).decode(), width, height, alt)
