"""Cores of the atlas beside the repository, through `fetch` and `split`: names, groups, sizes."""

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from stages import split
from tests.pipeline import ROOT
from tests.source_examples import PARAMS, as_folder, manifest_of
from tissue.common.errors import InputError
from tissue.common.names import POSITIONS, SPLITS, position_of, slide_of
from tissue.data.index import read_index

SHARED = ROOT.parent / "shared/data"
FULL, COLOR = SHARED / "hpa_full", SHARED / "hpa_color"

pytestmark = pytest.mark.skipif(not FULL.is_dir(), reason="no shared data here")


def run_split(root: Path, *, min_per_class: int) -> pd.DataFrame:
    settings = PARAMS.split.model_copy(update={"min_per_class": min_per_class})
    split.run(PARAMS.model_copy(update={"split": settings}), root, workers=0)
    return pd.concat([read_index(root / f"data/split/{name}.csv") for name in SPLITS])


def test_cores_in_colour(tmp_path: Path) -> None:
    """All names and classes are read, sizes are those of the list beside them."""
    source = COLOR / "hpa_color.zip"
    listed = pd.read_csv(COLOR / "MANIFEST.csv").set_index("path")
    manifest = manifest_of(source, tmp_path)
    assert set(manifest["id"]) == set(listed.index)
    assert (manifest["class"] == manifest["id"].str.partition("/")[0]).all()
    assert manifest["class"].nunique() == 11
    digests = manifest.set_index("id")["sha256"]
    assert digests.equals(listed.loc[digests.index, "sha256"].rename_axis("id"))
    with pytest.raises(InputError, match=r"6 images or more of every class.*endometrium_1 1,"):
        run_split(tmp_path, min_per_class=6)


def test_full_cores_under_their_atlas_names(tmp_path: Path) -> None:
    """Slides and positions are read from the names; one position of two slides is one group."""
    files = {f"endometrium_1/{path.name}": path.read_bytes() for path in sorted(FULL.glob("*.jpg"))}
    with zipfile.ZipFile(COLOR / "hpa_color.zip") as archive:
        colons = [name for name in archive.namelist() if name.startswith("colon/")][:3]
        files |= {name: archive.read(name) for name in colons}
    listed = pd.read_csv(COLOR / "MANIFEST.csv").set_index("path")
    manifest_of(as_folder(files, tmp_path / "cores"), tmp_path)
    index = run_split(tmp_path, min_per_class=1).set_index("id")
    assert set(index.index) == set(files)
    assert (index.loc[colons, ["width", "height"]] == listed.loc[colons, ["width", "height"]]).all(
        axis=None
    )
    cores = index.drop(colons)
    assert set(cores["width"]) == set(cores["height"]) == {3000}
    assert {slide_of(id_) for id_ in cores.index} == {"17746", "24357", "26980"}
    positions = cores.index.map(position_of)
    assert sorted(positions) == ["B_1_3", "B_1_3", "B_3_3", "B_6_3"]
    assert cores.groupby(positions)["group"].nunique().eq(1).all()
    assert cores["group"].nunique() == 3
    metrics = json.loads((tmp_path / "metrics/split.json").read_text())
    assert metrics["group_rule"] == POSITIONS
    assert metrics["rejected"] == 0
    assert metrics["blank"] == 0
