"""Outputs of `split` and `embed` for the audit, drawn so that the right answer is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tissue.common.files import write_json, write_table

WIDTH = 12  # features of the whole image, and again of its crops
SIDE = 8


def write_examples(
    root: Path,
    donors: Sequence[int],
    *,
    per_donor: int = 4,
    class_signal: float = 1.0,
    donor_signal: float = 0.0,
    crops: bool = True,
    known: bool = True,
    colour: float = 0.0,
    width: int = 0,
) -> None:
    """Write training and validation, no test set.

    Args:
        root: the folder.
        donors: how many each class has; every second of them is in validation.
        per_donor: images of each donor.
        class_signal: how far the classes lie apart in the features of crops.
        donor_signal: how far the donors of a class lie apart in all features.
        crops: whether there are crops, with features after those of the whole image.
        known: whether donors are known; otherwise each image is a group.
        colour: levels by which the images of a class are darker than those of the one before.
        width: pixels by which they are wider.
    """
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(len(donors), WIDTH)) * class_signal
    rows: dict[str, list[dict]] = {"train": [], "val": []}
    features: dict[str, list] = {"train": [], "val": []}
    images: dict[str, list] = {"train": [], "val": []}
    for label, count in enumerate(donors):
        for donor in range(count):
            split = "val" if donor % 2 else "train"
            at = rng.normal(size=2 * WIDTH) * donor_signal
            for number in range(per_donor):
                name = f"train/class{label}/{donor}_{number}.png"
                rows[split].append({
                    "id": name, "class": f"class{label}", "label": label,
                    "group": f"{label}-{donor}" if known else name,
                    "width": 100 + width * label, "height": 100,
                    "tissue_fraction": rng.uniform(0.2, 0.8), "blur": rng.uniform(0.1, 0.3),
                })  # fmt: skip
                both = np.concatenate([np.zeros(WIDTH), centres[label]]) + at
                features[split].append(both + rng.normal(size=2 * WIDTH))
                shade = 250 - colour * label
                images[split].append(rng.integers(shade - 80, shade, (SIDE, SIDE, 3)))
    for split, table in rows.items():
        index = pd.DataFrame(table)
        width_kept = 2 * WIDTH if crops else WIDTH
        kept = np.array(features[split], np.float32)[:, None, -width_kept:]
        (root / "data/embed").mkdir(parents=True, exist_ok=True)
        (root / "data/split").mkdir(parents=True, exist_ok=True)
        write_table(index, root / f"data/split/{split}.csv")
        write_table(index[["id"]], root / f"data/embed/{split}.csv")
        pixels = np.array(images[split], np.uint8)
        np.save(root / f"data/split/{split}.npy", pixels)
        if crops:
            np.save(root / f"data/split/{split}_crops.npy", pixels[:, None])
        np.save(root / f"data/embed/{split}.npy", kept)
    write_json([f"class{label}" for label in range(len(donors))], root / "data/split/classes.json")
