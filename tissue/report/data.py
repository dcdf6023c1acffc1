"""What the page says of the data: tables, groups, what test shares, and what it was made from."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from tissue.common.names import CLUSTERS, DONORS, POSITIONS, SLIDES, donor_status
from tissue.data.index import FORMS, unequal_classes
from tissue.report.formatting import SPLIT_NAMES, Table, count
from tissue.report.reading import Inputs

PACKAGES = (
    "tensorflow", "keras", "dvc", "numpy", "pandas", "scikit-learn", "pillow",
    "opencv-python-headless", "matplotlib", "bokeh",
)  # fmt: skip
REJECTED = 10  # reasons in the table of rejected images
WORDS = {DONORS: "donor", POSITIONS: "array position", CLUSTERS: "cluster", SLIDES: "slide"}


def split_table(inputs: Inputs) -> Table:
    """Return images, groups, donors, slides and original sizes of each split."""
    rows = []
    for name, index in inputs.index.items():
        side = index[["width", "height"]].max(axis=1)
        known = {
            title: index.loc[index[column] != "", column].nunique()
            for title, column in (
                ("Donors", "donor"), ("Slides", "slide"), ("Antibodies", "antibody"),
            )
        }  # fmt: skip
        low, high = count(side.min()), count(side.max())
        rows.append({
            "Split": SPLIT_NAMES[name],
            "Images": count(len(index)),
            "Groups": count(index["group"].nunique()),
            **{title: count(number) if number else "" for title, number in known.items()},
            "Original size, px": low if low == high else f"{low} to {high}",
        })  # fmt: skip
    frame = pd.DataFrame(rows)
    used = frame.loc[:, (frame != "").any()].replace("", "not known")
    return Table("The three splits of the data", used)


def checks_table(inputs: Inputs) -> Table:
    """Return duplicates, shared groups and rejected images."""
    split = inputs.metrics["split"]
    duplicates, groups, leaks = split["duplicates"], split["groups"], split["leaks"]
    searched = split["copies"] != "off"
    found = {
        "Unreadable or unusable images": split["rejected"],
        "Exact copies of an earlier image": duplicates["exact"],
        "Altered copies of an earlier image": duplicates["near"] if searched else None,
        "Sets of copies in more than one split": duplicates["across_splits"],
        "Sets of copies with different classes": duplicates["relabelled"],
        "Groups in more than one split": groups["shared"],
        "Images in the largest group": groups["largest"],
        "Pairs of copies that joined two groups": groups["joined_by_copies"],
        "Training images with a copy or group in test": leaks["images"],
        "Test images with a copy or group in training": leaks["test_images"],
        "Training images dropped for that reason": leaks["dropped"],
        "Further training images that may share a donor with test": leaks["possible"],
        "Images with almost no tissue": split["blank"],
    }
    shown = ["not looked for" if number is None else count(number) for number in found.values()]
    cells = {"Check": found.keys(), "Found": shown}
    return Table("Checks of the data", cells)


def rejected_table(inputs: Inputs) -> Table:
    """Return why images were rejected, most frequent reason first."""
    reasons = inputs.rejected.groupby("reason")["id"].agg(["first", "size"])
    reasons = reasons.sort_values("size", ascending=False, kind="stable").head(REJECTED)
    cells = {
        "Reason": reasons.index,
        "Example": reasons["first"].tolist(),
        "Images": map(count, reasons["size"]),
    }
    return Table("Rejected images", cells, texts=["Example"])


def imbalance_sentence(inputs: Inputs) -> str:
    """Return a warning if the classes are very unequal, else nothing."""
    found = unequal_classes(inputs.metrics["split"]["images_per_class"]["train"])
    return f"{found[0].upper()}{found[1:]}." if found else ""


def class_table(inputs: Inputs) -> Table:
    """Return the images of each class in each split."""
    columns = {"Class": inputs.classes}
    for name, index in inputs.index.items():
        counts = index["class"].value_counts().reindex(inputs.classes, fill_value=0)
        columns[SPLIT_NAMES[name]] = counts.map(count).tolist()
    return Table("Images of each class", columns)


def picture_table(inputs: Inputs) -> Table:
    """Return simple measures of the images of each split, where a shift shows first."""
    measures = {
        "tissue_fraction": "Tissue, share of the image",
        "haematoxylin": "Haematoxylin, optical density",
        "dab": "Second stain (DAB, where it was used), optical density",
        "blur": "Blur, from 0 (sharp) to 1",
    }
    rows = [
        [title, *(_spread(index[column], FORMS[column]) for index in inputs.index.values())]
        for column, title in measures.items()
    ]
    head = [f"{SPLIT_NAMES[name]}, n = {count(len(one))}" for name, one in inputs.index.items()]
    caption = "Measures of the images: median (10th to 90th percentile)"
    return Table(caption, pd.DataFrame(rows, columns=["Measure", *head]))


def _spread(values: pd.Series, form: str) -> str:
    low, middle, high = (form.format(values.quantile(q)) for q in (0.1, 0.5, 0.9))
    return f"{middle} ({low} to {high})"


def versions_table() -> Table:
    """Return the versions of Python and of the packages that can change a result."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # dvc may be installed outside this environment
            continue
    return Table("Versions", {"Package": versions.keys(), "Version": versions.values()})


def files_table(inputs: Inputs) -> Table:
    """Return the files that this page was made from, with their digests."""
    rows = [(name, count(size), md5) for name, size, md5 in inputs.digests]
    frame = pd.DataFrame(rows, columns=["File", "Bytes", "MD5"])
    return Table("Files this page was made from", frame, texts=["MD5"])


def group_word(inputs: Inputs) -> str:
    """Return what the rule of `split` keeps together: a donor, array position, cluster or group."""
    return WORDS.get(inputs.metrics["split"]["group_rule"], "group")


def groups_sentence(split: Mapping[str, Any]) -> str:
    """Return which groups the splits keep together, and what is known of donors.

    Args:
        split: the content of metrics/split.json.
    """
    rule, shared = split["group_rule"], split["groups"]["shared"]
    groups = {0: "No group is", 1: "One group is"}.get(shared, f"{shared:,} groups are")
    if donor_status(rule) == "as given":
        return (
            f"Images are grouped by split.{rule}, and groups are taken as donors. {groups} in "
            "several splits."
        )
    if rule == DONORS:
        return f"Images are grouped by donor, as the source names them. {groups} in several splits."
    if rule != POSITIONS:
        return (
            f"Donors are not known. Images are grouped by {rule}, so a donor may be in several "
            f"splits, and intervals are too narrow. {groups} in several splits."
        )
    possible = split["leaks"]["possible"]
    given = f"of the given test set, up to {possible:,} training images may share a donor"
    return (
        f"Donors are not known. Images are grouped by {rule}: those of a class at one position "
        "stay together, which may join donors but divides none of them between splits that are "
        f"made here; {given if possible else 'the test set is one of these'}."
    )


def shared_sentence(inputs: Inputs) -> str:
    """Return how many test images share a slide or antibody with training; empty if not known."""
    test = inputs.index["test"]
    fitted = pd.concat([inputs.index["train"], inputs.index["val"]])
    said, shared = [], False
    for column, several in (("slide", "slides"), ("antibody", "antibodies")):
        known = test.loc[test[column] != "", column]
        if len(known):
            found = known.isin(fitted[column])
            shared |= bool(found.any())
            said.append(
                f"{count(found.sum())} share their {column} ({count(known[found].nunique())} of "
                f"{count(known.nunique())} {several}) with training or validation."
            )
    if not said:
        return ""
    ending = " How the models do on new ones is not measured." if shared else ""
    return f"Of the {count(len(test))} test images, {' '.join(said)}{ending}"
