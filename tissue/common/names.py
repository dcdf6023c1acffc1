"""The names of the Human Protein Atlas: classes, which join into tissues and systems, and files."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

TISSUES = {
    "colon": "colon",
    "endometrium_1": "endometrium",
    "endometrium_2": "endometrium",
    "kidney": "kidney",
    "liver": "liver",
    "lung": "lung",
    "lymph_node": "lymph_node",
    "pancreas": "pancreas",
    "skin_1": "skin",
    "skin_2": "skin",
    "small_intestine": "small_intestine",
    "spleen": "spleen",
}
# https://www.proteinatlas.org/humanproteome/tissue
SYSTEMS = {
    **TISSUES,
    "endometrium_1": "female tissues",
    "endometrium_2": "female tissues",
    "lymph_node": "bone marrow and lymphoid tissues",
    "spleen": "bone marrow and lymphoid tissues",
    "colon": "gastrointestinal tract",
    "small_intestine": "gastrointestinal tract",
}

# <slide>_<A or B>_<column>_<row>, before the suffix
IMAGE_NAME = re.compile(r"(\d+)_[AB]_\d+_\d+")


def slide_of(path: str) -> str:
    """Return the number of the slide that an image stands on, empty if its name does not tell."""
    match = IMAGE_NAME.fullmatch(PurePosixPath(path).stem)
    return match[1] if match else ""


def count_joined(classes: Sequence[str]) -> dict[str, int]:
    """Return how many tissues and systems there are of these classes."""
    joined = {"tissues": TISSUES, "systems": SYSTEMS}
    return {level: len({names.get(one, one) for one in classes}) for level, names in joined.items()}


def is_atlas(classes: Sequence[str]) -> bool:
    """Whether all classes are named as in the atlas, and some of them can be joined."""
    names = set(classes)
    return names <= set(TISSUES) and len({SYSTEMS[name] for name in names}) < len(names)


# Columns of `data/raw/manifest.csv` that later stages read.
MANIFEST = ["id", "split", "class", "file", "source", "donor", "slide", "antibody"]
SPLITS = ("train", "val", "test")
CLUSTERS = "near-duplicate cluster"  # the rule that grouped images of which no donor is known
MODELS = ("scratch", "pretrained")  # in the order in which they are shown
EMBEDDED_WEIGHTS = Path("pretrain/mobilenet_v2_035.weights.h5")
