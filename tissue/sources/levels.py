"""Which level of folders names splits and which classes; docs/data-sources.md has the rule."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, NoReturn

from tissue.common.errors import InputError
from tissue.sources.folder_names import PICTURES, Parts, are_parts, is_exact_split, split_word

EXAMPLES = 3  # names in a message
SHOWN = 6  # classes of a reading in a message


class Folder(NamedTuple):
    """A folder before its levels are known: what is above and below the folder of its split."""

    above: Parts
    word: str  # the folder of the split as in the source, such as training_set; may be empty
    below: Parts


class Images(NamedTuple):
    """What messages need: the name of the source, and of each folder its number and an example."""

    name: str
    counts: Mapping[str, int]
    examples: Mapping[str, str]


def find_splits(parts: Mapping[str, Parts], of: Images) -> dict[str, Folder]:
    """Find the folder of its split in each path, or none in all of them.

    It is the first folder whose name speaks of a split. Where all images share it, or are in
    folders of one split only, it has to be called train or test.
    """
    shared = _shared(list(parts.values()))
    rests = {folder: one[shared:] for folder, one in parts.items()}
    found = {
        folder: next((at for at, name in enumerate(rest) if split_word(name)), None)
        for folder, rest in rests.items()
    }
    words = {rests[folder][at] for folder, at in found.items() if at is not None}
    is_split = len(set(map(split_word, words))) > 1 or any(map(is_exact_split, words))
    strays = [folder for folder, at in found.items() if at is None]
    if is_split and not strays:
        cut = {
            folder: Folder(rest[:at], rest[at], rest[at + 1 :])
            for (folder, rest), at in zip(rests.items(), found.values(), strict=True)
            if at is not None
        }
        return _without_repeated(cut)
    above_class = any(at + 1 < len(rests[name]) for name, at in found.items() if at is not None)
    if is_split and above_class:
        _refuse(strays, of, splits=True)
    (first, *_) = parts.values()
    exact = [at for at in range(shared) if is_exact_split(first[at])]
    word = first[exact[-1]].casefold() if exact else ""
    return {folder: Folder((), word, rest) for folder, rest in rests.items()}


def _shared(paths: Sequence[Parts]) -> int:
    """Return how many folders all paths begin with, at most all but the last of the shortest."""
    most = max(0, min(map(len, paths)) - 1)
    return next((at for at in range(most) if len({one[at] for one in paths}) > 1), most)


def _without_repeated(folders: dict[str, Folder]) -> dict[str, Folder]:
    """Leave out a second folder of the same split below the first one, as in train/train."""
    while all(
        len(one.below) > 1 and split_word(one.below[0]) == split_word(one.word)
        for one in folders.values()
    ):
        folders = {name: one._replace(below=one.below[1:]) for name, one in folders.items()}
    return folders


def find_levels(folders: Mapping[str, Folder], of: Images) -> dict[str, Parts]:
    """Return the levels among which the class is: below the split, or above it if none is below."""
    levels = {name: one.below for name, one in folders.items()}
    if not any(levels.values()):
        levels = {name: one.above for name, one in folders.items()}
    if strays := [name for name, one in levels.items() if not one]:
        _refuse(strays, of, splits=any(one.word for one in folders.values()))
    return levels


def _refuse(strays: Sequence[str], of: Images, *, splits: bool) -> NoReturn:
    layout = "train/<class>/<image> and test/<class>/<image>" if splits else "<class>/<image>"
    raise InputError(
        f"{of.name}: expected every image as {layout}. "
        f"Received: {sum(of.counts[one] for one in strays)} elsewhere, "
        f"e.g. {', '.join(of.examples[one] for one in sorted(strays)[:EXAMPLES])}. "
        "Move them or take them out."
    )


def choose_class(levels: Mapping[str, Parts], of: Images, class_level: int | None) -> int:
    """Return which level is the class, counted from 1."""
    depth = min(map(len, levels.values()))
    if class_level is not None:
        if class_level > depth:
            folder = min(name for name, one in levels.items() if len(one) == depth)
            raise InputError(
                f"fetch.class_level: expected at most {depth}, the folders of "
                f"{of.examples[folder]} that are neither a split nor shared by all images. "
                f"Received: {class_level}. Correct it in params.yaml."
            )
        return class_level
    names = {at: [one[at - 1] for one in levels.values()] for at in range(1, depth + 1)}
    telling = [at for at, found in names.items() if len(set(found)) > 1 and not _pictures(found)]
    # Of levels that divide the images in the same way, the lowest one gives the names.
    distinct = [
        at
        for at in telling
        if not any(_same_division(names[at], names[other]) for other in telling if other > at)
    ]
    deeper = any(not _pictures(one[depth:]) for one in levels.values())
    if len(distinct) > 1 or (deeper and telling):
        _ask_for_level(names, distinct, levels, of)
    return (
        distinct[0]
        if distinct
        else max((at for at, found in names.items() if not _pictures(found)), default=depth)
    )


def check_named(classes: Collection[str], of: Images, *, level: int) -> None:
    """Raise an `InputError` if folders that would be classes only say how a set was divided."""
    if are_parts(classes):
        raise InputError(
            f"{of.name}: expected folders that are named after their classes. Received: "
            f"{', '.join(sorted(classes)[:EXAMPLES])}, which look like parts of one set. If they "
            f"are classes, set fetch.class_level to {level}; else set fetch.labels to a table."
        )


def check_repeated(folders: Mapping[str, Parts], of: Images) -> None:
    """Raise an `InputError` if a folder repeats what stands beside it, as in some archives."""
    # As many images in each folder, and the first of the same name
    found = {
        one: (of.counts[folder], PurePosixPath(of.examples[folder]).name)
        for folder, one in folders.items()
    }
    shared = _shared(list(found))
    inside: dict[str, dict[Parts, tuple[int, str]]] = defaultdict(dict)
    for one, images in found.items():
        if len(one) > shared + 1:
            inside[one[shared]][(*one[:shared], *one[shared + 1 :])] = images
    for name, repeated in sorted(inside.items()):
        if repeated.items() <= found.items():
            first = min(repeated)
            raise InputError(
                f"{of.name}: expected each image once. Received: "
                f"{sum(number for number, _ in repeated.values()):,} in "
                f"{'/'.join((*first[:shared], name))} that also stand beside it, folder for "
                f"folder, e.g. in {'/'.join(first)}. Name one of both in fetch.source, or take one "
                "out."
            )


def _pictures(names: Iterable[str]) -> bool:
    return all(name.casefold() in PICTURES for name in names)


def _same_division(names: Sequence[str], others: Sequence[str]) -> bool:
    pairs = set(zip(names, others, strict=True))
    return len(pairs) == len(set(names)) == len(set(others))


def _ask_for_level(
    names: Mapping[int, Sequence[str]],
    readings: Iterable[int],
    levels: Mapping[str, Parts],
    of: Images,
) -> NoReturn:
    # The example with the most folders shows best what is meant.
    folder = min(levels, key=lambda name: (-len(levels[name]), name))
    lines = []
    for at in readings:
        classes = sorted(set(names[at]))
        shown = ", ".join(classes[:SHOWN]) + (" ..." if len(classes) > SHOWN else "")
        lines.append(
            f"  fetch.class_level: {at} means {len(classes)} classes: {shown}; "
            f"{of.examples[folder]} is of {levels[folder][at - 1]}"
        )
    splits = sorted({name for found in names.values() for name in found if split_word(name)})
    kept = (
        f" {splits[0]} may be a split: to keep it apart, call the folders of splits train and test."
        if splits
        else ""
    )
    readings_of = "several readings" if len(lines) > 1 else "images of a class in several folders"
    raise InputError(
        f"{of.name}: expected one level of folders for the classes. Received: {readings_of}:\n"
        + "\n".join(lines)
        + "\nSet it in params.yaml. The other folders stay in the ids, where split.group_pattern "
        f"finds donors; or move the images.{kept}"
    )
