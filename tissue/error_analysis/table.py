"""The form of the results of the error analysis: columns, causes, units and sentences."""

from typing import Any

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
    "confusable_pair",
    "donor_unseen",
)
NONE_FOUND = "none_found"

NEIGHBOUR_COLUMNS = tuple(f"neighbour_{rank}" for rank in range(1, NEIGHBOURS + 1))
# One row per misclassified test image and model, sorted by model, class, id.
ERROR_COLUMNS = (
    "model", "id", "class", "predicted", "confidence", "margin", "cause", "strength", "sentence",
    "confusable", "tissue_fraction", "blur", "stain", "distance", "label_suspicion", "donor_unseen",
    *NEIGHBOUR_COLUMNS, "neighbour_classes", "neighbour_groups",
)  # fmt: skip
# One row per image with a suspect label, most suspect first.
SUSPECT_COLUMNS = ("id", "split", "class", "suggested", "quality")
SHOWN_COLUMNS = ("model", "id")  # of gradcam.csv: row i has map i of gradcam.npy


def rarity(exceeding: int, correct: int) -> str:
    """Return how many of the correctly classified images exceed a value, as text."""
    share = f"only {exceeding:,}" if exceeding else "none"
    return f"{share} of {correct:,} correctly classified images"


def error_sentence(error: dict[str, Any]) -> str:
    """Return which class was mistaken for which, and why, as a sentence.

    Args:
        error: a row of the table of errors, and `typical_tissue`, the median tissue fraction of
            training images of the true class; `stain_side`, darker or paler than these; `agreeing`,
            how many of the nearest training images are of the true class; `correct`, the number of
            correctly classified images, and `exceeding`, how many of them show the cause at least
            as strongly.
    """
    own, predicted = (error[key].replace("_", " ") for key in ("class", "predicted"))
    rare = rarity(error["exceeding"], error["correct"])
    count = error["agreeing"]
    agreeing = ("none", "one", "two", "three", "four", "five")[count]
    agreeing += f" of its five nearest training images {'is' if count == 1 else 'are'} {own}"
    reasons = {
        "little_tissue": f"only {error['tissue_fraction']:.0%} of the picture is tissue, where "
        f"{own} usually shows {error['typical_tissue']:.0%} (as little for its class as {rare})",
        "blur": f"the picture is blurred, as strongly as {rare}",
        "extreme_stain": f"it is stained {error['stain_side']} than {own} usually is, as far off "
        f"as {rare}",
        "unlike_training": f"it lies unusually far from training: {error['distance']:.1f} times as "
        f"far from the nearest training images as these from each other, as {rare}",
        "suspect_label": f"its label may be wrong: a second classifier gives {own} a probability "
        f"of {1 - error['label_suspicion']:.1%}, and {agreeing}",
        "confusable_pair": "both belong to the same organ system, and their tissue looks alike; "
        f"{agreeing}",
        "donor_unseen": "its donor was not in training, as in few of the correctly classified "
        "images",
        NONE_FOUND: f"nothing that was measured stands out; {agreeing}",
    }
    opening = f"Taken for {predicted} instead of {own} ({error['confidence']:.0%} sure)"
    return f"{opening}: {reasons[error['cause']]}."
