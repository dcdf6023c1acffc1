"""What grouping by position on the array, as atlas file names tell it, means for the splits."""

import pandas as pd

from tissue.common.names import position_of
from tissue.config.schema import Split

NOTICED = 0.05  # difference of a share from the one that was asked for


def describe_positions(index: pd.DataFrame, possible: int, settings: Split) -> list[str]:
    """Return lines to print: the rule, what it does to the sizes of the splits, and the way out.

    Args:
        index: the images that are kept, with `id`, `class`, `group`, `split` (test if the source
            says so) and `assigned`, the split they are in.
        possible: training images that may share a donor with the test set.
        settings: the shares that were asked for.
    """
    lines = [
        "images of a class at one array position stay together: they may be of several donors, but "
        "no donor is divided"
    ]
    if other := int((index["id"].map(position_of) == "").sum()):
        lines.append(f"{other} images have no position in their name; of these, only copies do")
    if changed := _changed_sizes(index, settings):
        fewest = index.groupby("class")["group"].nunique().min()
        lines.append(f"with only {fewest} groups in a class, {', '.join(changed)}")
    if possible:
        lines.append(f"up to {possible} training images may share a donor with the test set")
    return [
        *lines,
        "to divide by donor, ask the atlas for them: `python -m tissue donors <folder or archive>` "
        "writes donors.csv for split.metadata",
    ]


def _changed_sizes(index: pd.DataFrame, settings: Split) -> list[str]:
    """Return the shares that differ from those asked for, in words, and that of training."""
    sizes = index["assigned"].value_counts()
    train, val = sizes["train"], sizes["val"]
    shares = [("validation", "the training images", val / (train + val), settings.val_fraction)]
    if not (index["split"] == "test").any():
        share = sizes["test"] / len(index)
        shares.insert(0, ("test", "all images", share, settings.test_fraction))
    changed = [
        f"{name} takes {share:.0%} of {whole} instead of {wanted:.0%}"
        for name, whole, share, wanted in shares
        if abs(share - wanted) > NOTICED
    ]
    return [*changed, f"training keeps {train} images"] if changed else []
