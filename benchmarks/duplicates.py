"""How many planted copies and shared donors `split` finds: `python -m benchmarks.duplicates`.

Reads `data/raw` of the phantom and changes nothing there. Adds copies of 5 % of the images to a
copy of it, under names and donors of their own: turned or mirrored, re-compressed, both, and both
with another class; half of them in the test set. Gives 5 % of the training donors the name of a
test donor. Runs `split`, and compares what it lists with what was planted.

Expected on the default phantom: recall and precision of 0.98 or more in every row.
"""

import argparse
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from stages import split
from tissue.config.loading import load_params
from tissue.data.index import read_index

SHARE = 0.05
KINDS = ("turned", "recompressed", "turned and recompressed", "relabelled")


class Planted(NamedTuple):
    """The manifest with the copies, the kind of each pair of ids, and the donors given twice."""

    manifest: pd.DataFrame
    copies: dict[tuple[str, ...], str]
    donors: set[str]


def transformed(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a copy of an image as JPEG: turned or mirrored, compressed once more, or both."""
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    view, quality = int(rng.integers(1, 8)), int(rng.integers(40, 80))
    if kind != "recompressed":
        picture = np.rot90(picture, view % 4)
        picture = picture[:, ::-1] if view >= 4 else picture
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(buffer, "JPEG", quality=95 if kind == "turned" else quality)
    return buffer.getvalue()


def share_donors(manifest: pd.DataFrame, rng: np.random.Generator) -> set[str]:
    """Give SHARE of the training donors the name of a test donor; return these names."""
    in_train = manifest["split"] == "train"
    moved = rng.permutation(manifest.loc[in_train, "donor"].unique())
    moved = moved[: max(1, round(SHARE * len(moved)))]
    names = rng.permutation(manifest.loc[~in_train, "donor"].unique())[: len(moved)]
    given = dict(zip(moved, names, strict=True))
    manifest.loc[in_train, "donor"] = manifest.loc[in_train, "donor"].replace(given)
    return set(names)


def plant(raw: Path, out: Path, *, seed: int) -> Planted:
    """Copy the folder `raw` to `out`, share donors there, and add copies of SHARE of the images."""
    shutil.copytree(raw, out)
    rng = np.random.default_rng(seed)
    manifest = read_index(out / "manifest.csv")
    donors = share_donors(manifest, rng)
    classes = sorted(manifest["class"].unique())
    rows: list[dict[str, Any]] = []
    copies = {}
    with zipfile.ZipFile(out / "planted.zip", "w") as archive:
        for number, row in enumerate(
            rng.permutation(len(manifest))[: round(SHARE * len(manifest))]
        ):
            original = manifest.iloc[row]
            kind, name = KINDS[number % len(KINDS)], original["class"]
            if kind == "relabelled":
                name = classes[(classes.index(name) + rng.integers(1, len(classes))) % len(classes)]
            split_name = ("train", "test")[rng.integers(2)]
            id_ = f"{split_name}/{name}/planted_{number:03d}.jpg"
            with zipfile.ZipFile(raw / original["file"]) as originals:
                archive.writestr(id_, transformed(originals.read(original["id"]), kind, rng))
            values = {"id": id_, "split": split_name, "class": name, "donor": f"planted {number}"}
            rows.append({**original, **values, "file": "planted.zip"})
            copies[tuple(sorted((original["id"], id_)))] = kind
    manifest = pd.concat([manifest, pd.DataFrame(rows)]).sort_values("id", ignore_index=True)
    manifest.to_csv(out / "manifest.csv", index=False)
    return Planted(manifest, copies, donors)


def measure(planted: Planted, folder: Path) -> pd.DataFrame:
    """Compare the tables that `split` wrote to `folder` with what was planted."""
    sets = pd.read_csv(folder / "duplicates.csv").groupby("set")["id"]
    found = {(a, b) for _, ids in sets for a in ids for b in ids if a < b}
    index = planted.manifest.set_index("id")
    of_classes = {pair for pair in found if index.loc[list(pair), "class"].nunique() == 2}
    kinds = {
        kind: {pair for pair, other in planted.copies.items() if other == kind} for kind in KINDS
    }
    in_train = index["split"] == "train"
    leaks = {
        id_ for pair in planted.copies if in_train[list(pair)].sum() == 1
        for id_ in pair if in_train[id_]
    }  # fmt: skip
    leaks |= set(index[in_train & index["donor"].isin(planted.donors)].index)
    leaked = set(pd.read_csv(folder / "leaks.csv")["id"])
    rows = [_score("all copies", set(planted.copies), found)]
    rows += [_score(kind, pairs, found) | {"precision": np.nan} for kind, pairs in kinds.items()]
    rows.append(_score("of other classes", kinds["relabelled"], of_classes))
    rows.append(_score("training images that leak", leaks, leaked))
    return pd.DataFrame(rows)


def _score(what: str, planted: set, listed: set) -> dict[str, Any]:
    right = len(planted & listed)
    recall, precision = right / max(len(planted), 1), right / max(len(listed), 1)
    counts = {"what": what, "planted": len(planted), "found": right}
    return {**counts, "recall": recall, "precision": precision}


def main() -> None:
    """Plant copies and donors in a copy of data/raw, run `split` and print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load_params()
    settings = params.split.model_copy(update={"on_leak": "report"})
    with tempfile.TemporaryDirectory() as folder:
        planted = plant(Path("data/raw"), Path(folder, "data/raw"), seed=params.seed)
        split.run(params.model_copy(update={"split": settings}), Path(folder))
        table = measure(planted, Path(folder, "data/split"))
    print(table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


if __name__ == "__main__":
    main()
