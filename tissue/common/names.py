"""Names that several rooms share: of the Human Protein Atlas, and of what the stages write."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

# The tissue of each class of the atlas, which numbers some of them
TISSUES = {
    name: name.removesuffix("_1").removesuffix("_2")
    for name in (
        "colon", "endometrium_1", "endometrium_2", "kidney", "liver", "lung", "lymph_node",
        "pancreas", "skin_1", "skin_2", "small_intestine", "spleen",
    )
}  # fmt: skip
# The organ system of each class: https://www.proteinatlas.org/humanproteome/tissue
SYSTEMS = {
    **TISSUES,
    "endometrium_1": "female tissues",
    "endometrium_2": "female tissues",
    "lymph_node": "bone marrow and lymphoid tissues",
    "spleen": "bone marrow and lymphoid tissues",
    "colon": "gastrointestinal tract",
    "small_intestine": "gastrointestinal tract",
}
# <slide>_<A or B>_<column>_<row>: the last three are a position on the array. Browsers and users
# add to names: "colon_4821_A_3_5 (1)" is the same image.
IMAGE_NAME = re.compile(r"(?<![^\W_])(\d+)_([AB]_\d+_\d+)(?![^\W_])")

# Columns of the manifest. Where an image is a tile of a slide, x and y are its corner in pixels of
# the first level; mpp is its scale in micrometres per pixel. All may be empty.
TILE = ("x", "y", "mpp")
MANIFEST = ["id", "split", "class", "file", "source", "donor", "slide", "antibody", *TILE]
SPLITS = ("train", "val", "test")
# Rules that give the group of an image. By position, a group may join donors but divides none.
# Where copies are not linked, each image is a group.
METADATA, PATTERN, DONORS, SLIDES = "metadata", "group_pattern", "donor", "slide"
POSITIONS, CLUSTERS, SINGLES = (
    "array position in file name",
    "near-duplicate cluster",
    "single image",
)
# Classes of characters that change the direction of writing
BIDIRECTIONAL = frozenset({"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"})
MODEL_NAMES = {"scratch": "CNN from scratch", "pretrained": "pretrained net"}
MODELS = tuple(MODEL_NAMES)  # in the order in which they are shown


def atlas_name(path: str, part: int = 0) -> str:
    """Return the name that the atlas gave an image, such as 4821_A_3_5, from the name of its file.

    An empty text means that the file has another name. Part 1 is the slide, part 2 the position.
    """
    match = IMAGE_NAME.search(PurePosixPath(path).stem)
    return match[part] if match else ""


def slide_of(path: str) -> str:
    """Return the number of the slide in the name of an image of the atlas, else an empty text."""
    return atlas_name(path, 1)


def position_of(path: str) -> str:
    """Return the position on the array in the name of an image of the atlas, else an empty text."""
    return atlas_name(path, 2)


def numbered(number: int, noun: str) -> str:
    """Return `1 donor` or `1,080 donors`."""
    return f"{int(number):,} {noun}{'' if number == 1 else 's'}"


def donor_status(rule: str) -> str:
    """Return whether groups by this rule are donors: known, as given (by the user), not known."""
    given = {METADATA: "as given", PATTERN: "as given", DONORS: "known"}
    return given.get(rule, "not known")


def count_joined(classes: Sequence[str]) -> dict[str, int]:
    """Return the number of `tissues` and `systems` that these classes belong to."""
    joined = {"tissues": TISSUES, "systems": SYSTEMS}
    return {level: len({names.get(one, one) for one in classes}) for level, names in joined.items()}


def is_atlas(classes: Sequence[str]) -> bool:
    """Return whether all classes are of the atlas, and two of them belong to one organ system."""
    names = set(classes)
    return names <= set(TISSUES) and len({SYSTEMS[name] for name in names}) < len(names)


def printable(text: str) -> str:
    """Return text with control, bidirectional and line-separator characters as escapes.

    Names come from files of others, and these characters can move the cursor of a terminal, hide
    part of a name or start a new line. Line ends that a message of ours has are kept.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        letter if letter == "\n" or _is_visible(letter) else ascii(letter)[1:-1] for letter in text
    )


def one_line(text: str) -> str:
    """Return text as `printable` does, in one line: as it stands in a cell of a table.

    Python 3.11 and 3.12 write a carriage return into a CSV file without quotes, so that readers
    take it for the end of the row.
    """
    return printable(text).replace("\n", " ")


def _is_visible(letter: str) -> bool:
    # Zero-width joiners belong to the spelling of several scripts.
    return unicodedata.category(letter) not in {"Cc", "Cs", "Zl", "Zp"} and (
        unicodedata.bidirectional(letter) not in BIDIRECTIONAL
    )
