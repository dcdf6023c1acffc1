"""The form of the results of the error analysis: columns, causes, units and sentences."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tissue.data.index import FORMS

NEIGHBOURS = 5
HEAT_SIDE = 28  # of the square Grad-CAM maps, in cells

# Ties go to the first cause: a measured defect of the image says more than its distance from
# training, which every defect increases.
CAUSES = (
    "little_tissue",
    "blur",
    "extreme_stain",
    "unlike_training",
    "suspect_label",
    "few_donors",
    "one_scale",
    "looks_other",
    "not_learnt",
    "views_disagree",
    "donor_unseen",
)
NONE_FOUND = "none_found"
# Ends the sentence on an error whose cause does not tell errors from correct predictions.
NO_MORE_FREQUENT = (
    " Over all test images this is not shown to be more frequent among errors than among correct "
    "predictions."
)
MOST_ODDS = 1000  # odds above are not told apart in words

NEIGHBOUR_COLUMNS = tuple(f"neighbour_{rank}" for rank in range(1, NEIGHBOURS + 1))
# One row per misclassified test image and model, sorted by model, class, id.
ERROR_COLUMNS = (
    "model", "id", "class", "predicted", "confidence", "margin", "cause", "strength", "sentence",
    "confusable", "tissue_fraction", "blur", "stain", "distance", "label_suspicion", "donor_unseen",
    *NEIGHBOUR_COLUMNS, "neighbour_classes", "neighbour_groups",
)  # fmt: skip
# One row per image with a suspect label, most suspect first.
SUSPECT_COLUMNS = ("id", "split", "class", "suggested", "quality")
# Of gradcam.csv: row i has map i of gradcam.npy. The log odds of the predicted against the true
# class that the whole image and the crops add to those of the average training image.
SHOWN_COLUMNS = ("model", "id", "whole", "crops")


def branch_sentence(whole: float, crops: float, first: str, second: str) -> str:
    """Return which of two classes the whole image favours, and which the crops, as odds.

    Empty for a network without branches.

    Args:
        whole: log odds of the first against the second class that the whole image adds to those of
            the average training image.
        crops: those of the crops; 0 if there are none.
        first: name of the class that was preferred.
        second: name of the other class.
    """
    if np.isnan(whole):
        return ""
    named = [("the whole image", "s", whole)] + ([("the crops", "", crops)] if crops else [])
    named.sort(key=lambda branch: -branch[2])
    said = [f"{name} favour{ending} {_odds(size, first, second)}" for name, ending, size in named]
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _odds(size: float, first: str, second: str) -> str:
    one, other = (first, second) if size > 0 else (second, first)
    odds = np.exp(abs(size))
    text = f"{odds:.1f}" if odds < MOST_ODDS else f"more than {MOST_ODDS:,}"
    return f"{one} over {other} {text} to 1"


def is_more_frequent(cause: Mapping[str, float]) -> bool:
    """Return whether a cause in the summary is more frequent among errors, beyond chance."""
    return cause["difference_low"] > 0


def rarity(exceeding: int, correct: int) -> str:
    """Return how many of the correctly classified images show a cause as strongly, as text."""
    share = f"only {exceeding:,}" if exceeding else "none"
    verb = "are" if exceeding > 1 else "is"
    return f"{share.capitalize()} of {correct:,} correctly classified images {verb} as extreme"


def _scales(error: Mapping[str, Any]) -> tuple[str, str]:
    if error["by_whole"] > error["by_crops"]:
        return "The whole image alone is", "the crops are not"
    return "The crops alone are", "the whole image is not"


def error_sentence(error: dict[str, Any]) -> str:
    """Return which class was mistaken for which, and why, as a sentence.

    Args:
        error: a row of the table of errors; `by_whole` and `by_crops`, from `recognise`; and
            `typical_tissue`, the median tissue fraction of training images of the true class;
            `stain_side`, darker or paler than these; `agreeing`, how many of the nearest training
            images are of the true class; `correct`, the number of correctly classified images, and
            `exceeding`, how many of them show the cause at least as strongly; `confusable`,
            whether both classes belong to one organ system, missing where systems are not known.
    """
    own, predicted = (error[key].replace("_", " ") for key in ("class", "predicted"))
    opening = f"Taken for {predicted} instead of {own} ({error['confidence']:.1%} sure)"
    return f"{opening}. {_reasons(error, own)[error['cause']]}."


def _reasons(error: dict[str, Any], own: str) -> dict[str, str]:
    """Return the sentence on each cause, without its full stop."""
    rare = rarity(error["exceeding"], error["correct"])
    count = error["agreeing"]
    agreeing = ("None", "One", "Two", "Three", "Four", "Five")[count]
    agreeing += f" of its five nearest training images {'is' if count == 1 else 'are'} {own}"
    within = not pd.isna(error["confusable"]) and error["confusable"]
    pair = "Both belong to one organ system. " if within else ""
    seen, unseen = _scales(error)
    tissue, far = FORMS["tissue_fraction"], FORMS["distance"].format(error["distance"])
    return {
        "little_tissue": f"Only {tissue.format(error['tissue_fraction'])} of the picture is "
        f"tissue, where {own} usually shows {tissue.format(error['typical_tissue'])}. {rare}",
        "blur": f"The picture is blurred. {rare}",
        "extreme_stain": f"It is stained {error['stain_side']} than {own} usually is. {rare}",
        "unlike_training": f"It is unlike training: {far} times as far from the "
        f"nearest class as `predict` accepts. {rare}",
        "suspect_label": f"Its label may be wrong: a second classifier gives {own} a probability "
        f"of {1 - error['label_suspicion']:.1%}. {agreeing}",
        "few_donors": f"A second classifier, fitted on training, is wrong, too. With the donors of "
        f"the other splits it recognises {own}: training has too few donors like this one",
        "one_scale": f"{seen} recognised as {own}, {unseen}. {agreeing}",
        "looks_other": "It looks like another class: no second classifier recognises it, at either "
        f"magnification or with more donors. {agreeing}",
        "not_learnt": f"The model has not learnt images like it: it is wrong, on average, on the "
        f"five most alike training images of {own}",
        "views_disagree": "Its answer depends on the turn: turned or mirrored, the picture gets "
        "another class",
        "donor_unseen": "Its donor was not in training, which is true of few correctly classified "
        "images",
        NONE_FOUND: f"Nothing that was measured stands out. {pair}{agreeing}",
    }
