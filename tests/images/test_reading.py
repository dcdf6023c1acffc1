import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.images.test_quality import stained_disc
from tests.pipeline import ROOT
from tissue.chunks.files import Files
from tissue.config.loading import load_params
from tissue.data.index import QUALITY
from tissue.data.raw import Original
from tissue.images.decoding import content_box
from tissue.images.duplicates import exact_digest
from tissue.images.keypoints import find_keypoints
from tissue.images.reading import read_chunk, read_image
from tissue.images.stored import StoredRows, stored_key_points

SIDE = 96
SLIDE = 236  # greyer than the padding
NAMES = ["square", "wider", "higher", "empty"]
SETTINGS = load_params(ROOT / "params.yaml").split


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    disc = stained_disc(haematoxylin=0.4, dab=0.2, slide=SLIDE, side=192)
    assert disc[0, 0].tolist() == [SLIDE] * 3
    pictures = [disc, disc[8:-8], disc[:, 24:-24], np.full_like(disc[2:-2], SLIDE)]
    path = tmp_path_factory.mktemp("raw") / "raw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, picture in zip(NAMES, pictures, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "PNG")
            archive.writestr(f"{name}.png", buffer.getvalue())
        archive.writestr("damaged.png", b"\x89PNG")
    return path


@pytest.fixture(scope="module")
def stored(archive: Path) -> StoredRows:
    ids = [f"{name}.png" for name in [*NAMES, "damaged"]]
    out = archive.with_name("out.npy")
    read_chunk(
        out, Files({"raw.zip": str(archive)}, {}), size=SIDE, settings=SETTINGS,
        originals=[Original(id_, "raw.zip") for id_ in ids],
    )  # fmt: skip
    return StoredRows([out])


def test_rows_hold_what_read_image_returns(archive: Path, stored: StoredRows) -> None:
    points = stored_key_points(stored, np.arange(len(NAMES)))
    with zipfile.ZipFile(archive) as zipped:
        for row, name in enumerate(NAMES):
            read = read_image(zipped.read(f"{name}.png"), SETTINGS, size=SIDE)
            within = content_box(read.width, read.height, SIDE)
            values = {
                **{field: getattr(read, field) for field in ("image", "crops", "width", "height")},
                **read.quality,
                "sha256": exact_digest(read.image),
                "reason": "",
            }
            for field, value in values.items():
                assert np.array_equal(stored.read(row, field), value), field
            for one, other in zip(points(row), find_keypoints(read.image, within), strict=True):
                assert np.array_equal(one, other)


def test_the_row_of_a_damaged_image_has_a_reason(stored: StoredRows) -> None:
    assert stored.all("reason")[-1].startswith("is not a JPEG, PNG, TIFF, BMP, WebP, JPEG 2000")
    assert not stored.read(len(NAMES), "image").any()


def test_padding_is_not_measured(stored: StoredRows) -> None:
    rows = stored.table().iloc[: len(NAMES)].set_index(pd.Index(NAMES))
    for name, cut in {"square": 0, "wider": 16, "higher": 48}.items():
        area = np.pi * 0.5**2 / 4 * 192 / (192 - cut)
        assert rows.loc[name, "tissue_fraction"] == pytest.approx(area, abs=0.03)
    assert rows.loc["empty", QUALITY].tolist() == [0, 1, 0, 0]
    for stain in ("haematoxylin", "dab"):
        assert rows.loc[["wider", "higher"], stain].to_numpy() == pytest.approx(
            rows.loc["square", stain], abs=0.02
        )
