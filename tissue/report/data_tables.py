"""Tables of the data, and of what the page was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from tissue.common.names import SPLITS
from tissue.report.formatting import PART_NAMES, Table, count, spread
from tissue.report.reading import Inputs

PACKAGES = (
    "tensorflow",
    "keras",
    "dvc",
    "numpy",
    "pandas",
    "scikit-learn",
    "pillow",
    "matplotlib",
    "bokeh",
)


def split_table(inputs: Inputs) -> Table:
    """Images, groups, donors, slides and original sizes of each part."""
    rows = []
    for part in SPLITS:
        index = inputs.index[part]
        cells = [PART_NAMES[part], count(len(index)), count(index["group"].nunique())]
        cells += [_known(index, column) for column in ("donor", "slide", "antibody")]
        cells.append(_sizes(index))
        rows.append(cells)
    head = ["Part", "Images", "Groups", "Donors", "Slides", "Antibodies", "Original size, px"]
    used = [i for i in range(len(head)) if i < 3 or any(row[i] for row in rows)]
    return Table(
        "The three parts of the data",
        [head[i] for i in used],
        [[row[i] or "not known" for i in used] for row in rows],
    )


def _known(index: pd.DataFrame, column: str) -> str:
    """How many different values, or nothing where the source does not say."""
    values = index[column] if column in index else pd.Series(dtype=str)
    known = values[values != ""]
    return count(known.nunique()) if len(known) else ""


def _sizes(index: pd.DataFrame) -> str:
    if not {"width", "height"} <= set(index.columns) or index.empty:
        return ""
    side = index[["width", "height"]].max(axis=1)
    low, high = int(side.min()), int(side.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def checks_table(inputs: Inputs) -> Table:
    """Duplicates, shared groups and rejected images."""
    split = inputs.metrics["split"]
    duplicates, groups = split.get("duplicates", {}), split.get("groups", {})
    leaks = split.get("leaks", {})
    found = [
        ("Images that could not be read or used", split.get("rejected")),
        ("Images that repeat an earlier one exactly", duplicates.get("exact")),
        ("Images that are a changed copy of an earlier one", duplicates.get("near")),
        ("Sets of copies that stand in several parts", duplicates.get("across_splits")),
        ("Sets of copies with different classes", duplicates.get("relabelled")),
        ("Groups that stand in more than one part", groups.get("shared")),
        ("Images of the largest group", groups.get("largest")),
        ("Training images with a copy or group in the test", leaks.get("images")),
        ("Test images with a copy or group in training", leaks.get("test_images")),
        ("Training images dropped for that", leaks.get("dropped")),
        ("Images with nearly no tissue", split.get("blank")),
    ]
    return Table(
        "Checks of the data",
        ["Check", "Found"],
        [[name, count(value)] for name, value in found if isinstance(value, int)],
    )


def rejected_table(inputs: Inputs) -> Table | None:
    """Why images were rejected, if any were."""
    if inputs.rejected.empty:
        return None
    rows = [
        [str(reason), rows["id"].iloc[0], count(len(rows))]
        for reason, rows in inputs.rejected.groupby("reason", sort=True)
    ]
    rows.sort(key=lambda row: -int(row[2].replace(",", "")))
    return Table("Rejected images", ["Reason", "Example", "Images"], rows[:10], texts=(1,))


def class_table(inputs: Inputs) -> Table:
    """Images of each class in each part."""
    counts = {part: inputs.index[part]["class"].value_counts() for part in SPLITS}
    rows = [
        [name, *(count(counts[part].get(name, 0)) for part in SPLITS)] for name in inputs.classes
    ]
    return Table("Images of each class", ["Class", *(PART_NAMES[p] for p in SPLITS)], rows)


def picture_table(inputs: Inputs) -> Table | None:
    """Simple measures of the pictures, part by part: a shift shows here first."""
    measures = [
        ("tissue_fraction", "Tissue, share of the image", 2),
        ("haematoxylin", "Haematoxylin, optical density", 3),
        ("dab", "Second stain (DAB, where it was used), optical density", 3),
        ("blur", "Blur, from 0 (sharp) to 1", 2),
    ]
    rows = [
        [name, *(spread(inputs.index[part][column], digits) for part in SPLITS)]
        for column, name, digits in measures
        if all(column in inputs.index[part] and len(inputs.index[part]) for part in SPLITS)
    ]
    head = ["Measure", *(PART_NAMES[part] for part in SPLITS)]
    caption = "What the pictures are like: median (10th to 90th percentile)"
    return Table(caption, head, rows) if rows else None


def versions_table() -> Table:
    """Python and the packages whose version can change a result."""
    rows = [["python", platform.python_version()]]
    for package in PACKAGES:
        try:
            rows.append([package, version(package)])
        except PackageNotFoundError:  # dvc may live outside this environment
            continue
    return Table("Versions", ["Package", "Version"], rows)


def files_table(inputs: Inputs) -> Table:
    """The files this page was made from, with the digests by which DVC knows them."""
    return Table(
        "Files this page was made from",
        ["File", "Bytes", "MD5"],
        [[name, count(size), md5] for name, size, md5 in inputs.digests],
        texts=(2,),
    )
