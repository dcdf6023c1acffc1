"""The form of what the error analysis hands on: columns, causes and units, in one place."""

from typing import Any

NEIGHBOURS = 5
HEAT_SIDE = 28  # of the square Grad-CAM maps, in cells

# In the order in which ties are resolved: a measured defect of the picture says more than a
# distance, which every defect makes larger, too.
CAUSES = (
    "little_tissue",
    "blur",
    "extreme_stain",
    "unlike_training",
    "suspect_label",
    "confusable_pair",
    "donor_unseen",
)
NONE_FOUND = "none_found"

# The measured value that each cause is judged by.
MEASURES = {
    "little_tissue": "tissue_fraction",
    "blur": "blur",
    "extreme_stain": "stain",
    "unlike_training": "distance",
    "suspect_label": "label_suspicion",
    "confusable_pair": "confusable",
    "donor_unseen": "donor_unseen",
}

NEIGHBOUR_COLUMNS = tuple(f"neighbour_{rank}" for rank in range(1, NEIGHBOURS + 1))
# One row a misclassified test image and model, sorted by model, class, id.
ERROR_COLUMNS = (
    "model", "id", "class", "predicted", "confidence", "margin", "cause", "strength", "sentence",
    "confusable", "tissue_fraction", "blur", "stain", "distance", "label_suspicion", "donor_unseen",
    *NEIGHBOUR_COLUMNS, "neighbour_classes", "neighbour_groups",
)  # fmt: skip
# One row an image whose label the rest of the data contradicts, most suspect first.
SUSPECT_COLUMNS = ("id", "split", "class", "suggested", "quality")


OPENING = "Taken for {predicted} instead of {class} ({confidence:.0%} sure)"


def spoken(name: str) -> str:
    """A class name as it is said: `lymph node`."""
    return name.replace("_", " ")


def rarity(count: int, known: int) -> str:
    """How many of the correctly classified images, of which there are `known`."""
    return f"{f'only {count:,}' if count else 'none'} of {known:,} correctly classified images"


def error_sentence(error: dict[str, Any]) -> str:
    """Say what was taken for what, and why.

    Args:
        error: a row of the table of errors, and `usual_tissue`, the median share of tissue in
            training images of the true class; `stain_side`, darker or paler than these;
            `agreeing`, how many of the nearest training images are of the true class; `known`, how
            many images were classified correctly, and `as_extreme`, how many of them show the cause
            at least as strongly.
    """
    names = {key: spoken(error[key]) for key in ("class", "predicted")}
    opening = OPENING.format(confidence=error["confidence"], **names)
    return f"{opening}: {_reason(error, names)}."


def _reason(error: dict[str, Any], names: dict[str, str]) -> str:
    rare = rarity(error["as_extreme"], error["known"])
    own = names["class"]
    count = error["agreeing"]
    agreeing = ("none", "one", "two", "three", "four", "five")[count]
    agreeing += f" of its five nearest training images {'is' if count == 1 else 'are'} {own}"
    reasons = {
        "little_tissue": f"only {error['tissue_fraction']:.0%} of the picture is tissue, where "
        f"{own} usually shows {error['usual_tissue']:.0%} (as little for its class as {rare})",
        "blur": f"the picture is blurred, as strongly as {rare}",
        "extreme_stain": f"it is stained {error['stain_side']} than {own} usually is, as far off "
        f"as {rare}",
        "unlike_training": f"it lies unusually far from training: {error['distance']:.1f} times as "
        f"far from the nearest training images as these from each other, as {rare}",
        "suspect_label": f"its label may be wrong: a second classifier gives {own} a probability "
        f"of {1 - error['label_suspicion']:.1%}, and {agreeing}",
        "confusable_pair": f"both belong to the same organ system, and their tissue looks alike; "
        f"{agreeing}",
        "donor_unseen": "its donor was not in training, as in few of the correctly classified "
        "images",
        NONE_FOUND: f"nothing that was measured stands out; {agreeing}",
    }
    return reasons[error["cause"]]
