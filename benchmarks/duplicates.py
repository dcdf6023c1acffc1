"""How many planted copies and shared donors `split` finds: `python -m benchmarks.duplicates`.

Reads `data/raw` of the phantom, changes nothing there. Plants in a copy of it 5 % of copies, under
names and donors of their own: turned or mirrored, re-compressed, both, and relabelled; half of
them in the test set. Gives 5 % of the donors of training the name of a donor of the test. Runs
`split`, and compares what it lists with what was planted.

Expected on the default phantom: recall and precision of 0.98 or more in every row.
"""

import argparse
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from stages import split
from tissue.config.loading import load_params
from tissue.config.schema import Split
from tissue.data.index import read_index

SHARE = 0.05
KINDS = ("turned", "recompressed", "turned and recompressed", "relabelled")


class Planted(NamedTuple):
    """The manifest with what was planted, contents by id, and (original, copy, kind) a copy."""

    manifest: pd.DataFrame
    contents: dict[str, bytes]
    copies: list[tuple[str, str, str]]
    donors: set[str]  # names that were given to donors of training


def read_raw(raw: Path) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Return the manifest of `raw` and the files of its images by id."""
    manifest = read_index(raw / "manifest.csv")
    contents: dict[str, bytes] = {}
    for file, rows in manifest.groupby("file"):
        with zipfile.ZipFile(raw / str(file)) as archive:
            contents |= {id_: archive.read(id_) for id_ in rows["id"]}
    return manifest, contents


def changed(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a copy of a picture, turned, mirrored or compressed once more, as JPEG."""
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    view, quality = int(rng.integers(1, 8)), int(rng.integers(40, 80))
    if kind != "recompressed":
        picture = np.rot90(picture, view % 4)
        picture = picture[:, ::-1] if view >= 4 else picture
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(buffer, "JPEG", quality=95 if kind == "turned" else quality)
    return buffer.getvalue()


def plant(manifest: pd.DataFrame, contents: dict[str, bytes], seed: int) -> Planted:
    """Add copies of SHARE of the images, and give as many donors of training a name of the test."""
    rng = np.random.default_rng(seed)
    manifest, contents = manifest.copy(), dict(contents)
    in_train = manifest["split"] == "train"
    moved = rng.permutation(manifest.loc[in_train, "donor"].unique())
    moved = moved[: max(1, round(SHARE * len(moved)))]
    names = rng.permutation(manifest.loc[~in_train, "donor"].unique())[: len(moved)]
    given = dict(zip(moved, names, strict=True))
    manifest.loc[in_train, "donor"] = manifest.loc[in_train, "donor"].replace(given)
    classes = sorted(manifest["class"].unique())
    rows: list[dict[str, Any]] = []
    copies = []
    for number, row in enumerate(rng.permutation(len(manifest))[: round(SHARE * len(manifest))]):
        original = manifest.iloc[row]
        kind = KINDS[number % len(KINDS)]
        name = original["class"]
        if kind == "relabelled":
            name = classes[
                (classes.index(name) + int(rng.integers(1, len(classes)))) % len(classes)
            ]
        part = ("train", "test")[int(rng.integers(2))]
        id_ = f"{part}/{name}/planted_{number:03d}.jpg"
        contents[id_] = changed(contents[original["id"]], kind, rng)
        values = {"id": id_, "split": part, "class": name, "donor": f"planted {number}"}
        rows.append({**original, **values})
        copies.append((original["id"], id_, kind))
    planted = pd.concat([manifest, pd.DataFrame(rows)]).sort_values("id", ignore_index=True)
    return Planted(planted, contents, copies, set(names))


def write_raw(planted: Planted, raw: Path) -> None:
    """Write a folder as `fetch` does."""
    raw.mkdir()
    planted.manifest.assign(file="images-000.zip").to_csv(raw / "manifest.csv", index=False)
    with zipfile.ZipFile(raw / "images-000.zip", "w") as archive:
        for id_ in planted.manifest["id"]:
            archive.writestr(id_, planted.contents[id_])


def measure(planted: Planted, out: Path) -> pd.DataFrame:
    """Compare the tables that `split` wrote to `out` with what was planted."""
    found = pd.read_csv(out / "duplicates.csv")
    sets = [set(rows["id"]) for _, rows in found.groupby("set")]
    pairs = {tuple(sorted((a, b))) for ids in sets for a in ids for b in ids if a < b}
    index = planted.manifest.set_index("id")
    truth = {tuple(sorted(copy[:2])): copy[2] for copy in planted.copies}
    named = {pair for pair in pairs if index.at[pair[0], "class"] != index.at[pair[1], "class"]}
    leaked = set(pd.read_csv(out / "leaks.csv")["id"])
    sides = {pair for pair in truth if len({index.at[id_, "split"] for id_ in pair}) == 2}
    in_train = index["split"] == "train"
    shared = {id_ for pair in sides for id_ in pair if in_train[id_]}
    shared |= set(index[in_train & index["donor"].isin(planted.donors)].index)
    rows: list[tuple[str, set, set | None]] = [("all copies", set(truth), pairs)]
    rows += [(kind, {p for p in truth if truth[p] == kind}, None) for kind in KINDS]
    rows += [("of other classes", {p for p in truth if truth[p] == "relabelled"}, named)]
    rows += [("training images that leak", shared, leaked)]
    return pd.DataFrame([_row(*row, everything=pairs) for row in rows])


def _row(name: str, truth: set, found: set | None, *, everything: set) -> dict[str, Any]:
    right = len(truth & (everything if found is None else found))
    return {
        "what": name,
        "planted": len(truth),
        "found": right,
        "recall": right / max(len(truth), 1),
        "precision": np.nan if found is None else right / max(len(found), 1),
    }


def run(planted: Planted, settings: Split, folder: Path, *, image_size: int) -> pd.DataFrame:
    """Run `split` in a folder of its own on what was planted, and measure."""
    write_raw(planted, folder / "raw")
    split.run(
        settings, seed=1, image_size=image_size, workers=2, raw=folder / "raw",
        out=folder / "split", metrics=folder, plots=folder,
    )  # fmt: skip
    return measure(planted, folder / "split")


def main() -> None:
    """Plant in data/raw and print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load_params()
    planted = plant(*read_raw(Path("data/raw")), seed=params.seed)
    settings = params.split.model_copy(update={"on_leak": "report"})
    with tempfile.TemporaryDirectory() as folder:
        table = run(planted, settings, Path(folder), image_size=params.image_size)
    print(table.to_string(index=False, float_format="{:.3f}".format, na_rep=""))


if __name__ == "__main__":
    main()
