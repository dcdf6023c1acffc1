"""From the folders of a source's images to splits and classes; docs/data-sources.md has the rule.

Folders that all images share say nothing. Of the others, one level may name splits, one names
classes, and the rest stay in the id of the image, where `split.group_pattern` finds donors.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from tissue.common.errors import InputError
from tissue.common.names import printable
from tissue.sources.file_names import IMAGE_SUFFIXES
from tissue.sources.folder_names import Parts, check_spelling, mask_folders, name_splits
from tissue.sources.levels import (
    Folder,
    Images,
    check_named,
    check_repeated,
    choose_class,
    find_levels,
    find_splits,
)

SHOWN_CLASSES = 20  # of each split in the tree


class ImagePath(NamedTuple):
    """What is known of an image by its path or by a table; `donor` may be empty.

    All are in Unicode's composed form (NFC), in which macOS does not write names.
    """

    id: str
    split: str
    class_name: str
    donor: str = ""


class Place(NamedTuple):
    """What a folder of images means: start of their ids, split (may be empty), class.

    `shape` names its levels, such as <split>/<class>, and `others` are the names of those levels
    that are neither split nor class.
    """

    id: str
    split: str
    class_name: str
    shape: str
    others: Parts


@dataclass(frozen=True)
class Layout:
    """What each folder of a source means, None for one of masks; and its number of images."""

    places: Mapping[str, Place | None]
    counts: Mapping[str, int]

    def parse(self, name: str) -> ImagePath | None:
        """Return what the path of an image says; None for a mask, which is no image of a class."""
        folder, _, file = name.rpartition("/")
        place = self.places[folder]
        if place is None:
            return None
        id_ = f"{place.id}/{unicodedata.normalize('NFC', file)}"
        return ImagePath(id_, place.split, place.class_name)

    def describe(self) -> list[str]:
        """Return how the folders were understood, as a small tree with numbers of images."""
        counts, others = Counter[tuple[str, str]](), defaultdict[tuple[str, str], set[Parts]](set)
        shapes = Counter[str]()
        for folder, place in self.places.items():
            if place is not None:
                key = (place.split, place.class_name)
                counts[key] += self.counts[folder]
                others[key].add(place.others)
                shapes[place.shape] += self.counts[folder]
        shape = f"{shapes.most_common(1)[0][0]}/<image>"
        lines = draw_tree(counts, shape, {key: len(found) for key, found in others.items()})
        masks = sum(self.counts[name] for name, place in self.places.items() if place is None)
        return lines + ([f"  left out: {masks:,} masks beside images"] if masks else [])


def draw_tree(
    counts: Mapping[tuple[str, str], int], shape: str, folders: Mapping[tuple[str, str], int]
) -> list[str]:
    """Return lines with the number of images of each split and class.

    Args:
        counts: images by split and class.
        shape: what the parts of their names are.
        folders: by split and class, the folders they are in.
    """
    lines = [f"{sum(counts.values()):,} images, read as {shape}"]
    splits = sorted({split for split, _ in counts}, key=("train", "val", "test", "").index)
    for split in splits:
        classes = sorted(name for one, name in counts if one == split)
        if split:
            total = sum(counts[split, name] for name in classes)
            lines.append(f"  {split}: {total:,}")
        indent = "    " if split else "  "
        for name in classes[:SHOWN_CLASSES]:
            several = folders.get((split, name), 1)
            where = f" in {several:,} folders" if several > 1 else ""
            lines.append(f"{indent}{printable(name)}: {counts[split, name]:,}{where}")
        if len(classes) > SHOWN_CLASSES:
            lines.append(f"{indent}and {len(classes) - SHOWN_CLASSES} more classes")
    return lines


def read_layout(images: Iterable[str], *, source: str, class_level: int | None = None) -> Layout:
    """Return what each folder of the images means.

    Args:
        images: their names, each once.
        source: what messages call the source.
        class_level: which level is the class, 1 for the top one; None decides where there is one
            reading only. Folders that all images share and those of splits are not counted.

    Raises:
        InputError: if there is no image, an image without a class, several readings, or a class
            that is spelled in two ways.
    """
    counts, examples = Counter[str](), dict[str, str]()
    for name in images:
        folder = name.rpartition("/")[0]
        counts[folder] += 1
        examples.setdefault(folder, name)
    if not counts:
        raise InputError(
            f"{source}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) as "
            "[train|val|test]/<class>/<image>. Received: none. Check fetch.source in params.yaml."
        )
    parts = {folder: _parts(folder) for folder in counts}
    masks = mask_folders(parts)
    of = Images(source, counts, examples)
    check_repeated(parts, of)
    folders = find_splits({name: one for name, one in parts.items() if name not in masks}, of)
    levels = find_levels(folders, of)
    at = choose_class(levels, of, class_level) - 1
    if class_level is None:
        check_named({one[at] for one in levels.values()}, of, level=at + 1)
    check_spelling({one[at] for one in levels.values()}, source)
    return Layout({**dict.fromkeys(masks), **_places(folders, levels, at)}, counts)


def _parts(folder: str) -> Parts:
    return PurePosixPath(unicodedata.normalize("NFC", folder)).parts


def _places(
    folders: Mapping[str, Folder], levels: Mapping[str, Parts], at: int
) -> dict[str, Place]:
    splits = name_splits({one.word for one in folders.values() if one.word})
    words = {word.casefold(): split for word, split in splits.items()}
    spelled = Counter(words.values())
    places = {}
    for folder, (above, word, below) in folders.items():
        split = splits.get(word, "")
        # Where two folders are of one split, their names keep the ids apart.
        start = (split, word) if spelled[split] > 1 else (split,)
        named = levels[folder]
        shape = ["<folder>"] * len(named)
        shape[at] = "<class>"
        shape.insert(0 if below else len(named), "<split>" if split else "")
        shape = ["<folder>" for _ in above if below] + shape
        places[folder] = Place(
            id="/".join(filter(None, (*start, *above, *below))),
            split=split,
            class_name=named[at],
            shape="/".join(filter(None, shape)),
            others=(*above, word, *named[:at], *named[at + 1 :]),
        )
    return places
