"""What names of folders say: training_set is a split, masks are no images, Liver is liver."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping

from tissue.common.errors import InputError

WORDS = {
    **dict.fromkeys(("train", "training", "trains"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("dev", "development"), "dev"),
    **dict.fromkeys(("test", "testing", "tests", "holdout"), "test"),
}
# One word, with what is often joined to it: trainset, testimages, train2
SPLIT_WORD = re.compile(rf"({'|'.join(WORDS)})(?:sets?|data|datasets?|images?|imgs?)?\d*")
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
HOLD_OUT = re.compile(r"\b(hold|held)[\W_]*out(?![^\W_])")
# Folders that hold the images of one class, and folders beside them with the same names.
PICTURES = frozenset({
    "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "tile", "tiles",
    "patch", "patches",
})  # fmt: skip
MASKS = frozenset({
    "mask", "masks", "label", "labels", "annotation", "annotations", "segmentation",
    "segmentations", "ground_truth", "groundtruth", "gt", "overlay", "overlays", "heatmap",
    "heatmaps",
})  # fmt: skip
# With a number, what a large set was divided into: HAM10000_images_part_1, batch2
PARTS_OF_A_SET = PICTURES | {
    "part", "batch", "archive", "chunk", "shard", "disk", "disc", "folder", "fold", "split",
    "subset", "volume", "vol", "package", "download",
}  # fmt: skip
NUMBER = re.compile(r"\d+")
HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2212"
SEPARATORS = re.compile(rf"[\s_]*[{HYPHENS}][\s_]*(?=\w)|[\s_]+")
VARIATION_SELECTORS = range(0xFE00, 0xFE10)
Parts = tuple[str, ...]


def split_word(name: str) -> str:
    """Return the split that a name speaks of: train, dev, val or test; empty if none or several.

    Whole words count, in any case: training_set, seg_train, TrainData, Hold-out 2.
    """
    name = CAMEL.sub(" ", unicodedata.normalize("NFKC", name)).casefold()
    words = re.findall(r"[^\W_]+", HOLD_OUT.sub("holdout", name))
    found = {WORDS[match[1]] for word in words if (match := SPLIT_WORD.fullmatch(word))}
    return found.pop() if len(found) == 1 else ""


def is_exact_split(name: str) -> bool:
    """Return whether a name is train or test, so that it needs no other beside it."""
    return name.casefold() in ("train", "test")


def name_splits(words: Collection[str]) -> dict[str, str]:
    """Return train, val or test for the name of each folder of a split.

    A development set is validation, but where no training set stands beside it, it is what a model
    is developed on.
    """
    kinds = {name: split_word(name) for name in words}
    dev = "val" if "train" in kinds.values() else "train"
    return {name: dev if kind == "dev" else kind for name, kind in kinds.items()}


def mask_folders(folders: Mapping[str, Parts]) -> set[str]:
    """Return the folders of masks: those beside a folder of images, such as COVID/masks."""
    with_pictures = {
        one[:level]
        for one in folders.values()
        for level, name in enumerate(one)
        if name.casefold() in PICTURES
    }
    return {
        folder
        for folder, one in folders.items()
        for level, name in enumerate(one)
        if name.casefold().replace(" ", "_") in MASKS and one[:level] in with_pictures
    }


def are_parts(names: Collection[str]) -> bool:
    """Return whether names differ by a number only, and call what they number a part of a set."""
    stems = {NUMBER.sub("", unicodedata.normalize("NFKC", name)).casefold() for name in names}
    if len(stems) > 1 or len(set(names)) < 2:
        return False
    return bool(set(re.findall(r"[^\W_]+", stems.pop())) & PARTS_OF_A_SET)


def check_spelling(classes: Collection[str], source: str) -> None:
    """Raise an `InputError` if two names of classes are one to a reader."""
    spellings = defaultdict(list)
    for name in sorted(classes):
        spellings[_spelling(name)].append(name)
    unclear = [names for names in spellings.values() if len(names) > 1]
    if unclear:
        shown = "; ".join(" and ".join(map(_visible, names)) for names in unclear[:3])
        raise InputError(
            f"{source}: expected one spelling of each class. Received: {shown}. Rename the "
            "folders or labels, so that each class has one name."
        )


def _spelling(name: str) -> str:
    """Return a name without what readers overlook: case, kinds of spaces, hyphens, Unicode form."""
    name = unicodedata.normalize("NFKC", name).casefold()
    seen = "".join(
        letter
        for letter in name
        if unicodedata.category(letter) != "Cf" and ord(letter) not in VARIATION_SELECTORS
    )
    return SEPARATORS.sub("_", unicodedata.normalize("NFKC", seen)).strip("_")


def _visible(name: str) -> str:
    """Return a name in quotes, with escapes for letters that cannot be seen."""
    return repr(name) if name.isascii() or _spelling(name) == name.casefold() else ascii(name)
