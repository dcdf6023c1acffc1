"""Slides of several makers, drawn, become tiles."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.slides.test_slides import TILES, drawn
from tests.source_examples import manifest_of
from tests.vendor_slides import (
    Picture,
    write_bif,
    write_dicom,
    write_mrxs,
    write_ndpi,
    write_scn,
)

openslide = pytest.importorskip("openslide", reason="needs requirements/slides.txt")


@pytest.mark.parametrize(
    ("write", "suffix", "vendor", "margin"),
    [
        (write_ndpi, ".ndpi", "hamamatsu", 0),
        (write_mrxs, ".mrxs", "mirax", 0),
        (write_scn, ".scn", "leica", 256),  # beside the image, in its collection
        (write_bif, ".bif", "ventana", 0),
        (write_dicom, "_0.dcm", "dicom", 0),  # the first of three files
    ],
)
def test_tiles_of_a_maker_show_what_was_drawn(
    write: Callable[[Path, Picture], Path],
    suffix: str,
    vendor: str,
    margin: int,
    tmp_path: Path,
) -> None:
    for seed, class_name in enumerate(("colon", "liver")):
        (tmp_path / "s" / class_name).mkdir(parents=True)
        name = f"S{seed}{Path(suffix).suffix or suffix}"
        slide = write(tmp_path / f"s/{class_name}/{name}", drawn(seed))
        assert openslide.OpenSlide.detect_format(slide) == vendor
    manifest = manifest_of(tmp_path / "s", tmp_path, slides=TILES)
    assert manifest["class"].value_counts().to_dict() == {"colon": 8, "liver": 8}
    with zipfile.ZipFile(tmp_path / "data/raw/images-000.zip") as archive:
        for row in manifest.itertuples():
            assert row.slide == f"{row[3]}/S{int(row[3] == 'liver')}{suffix}"
            left, top = int(row.x) - margin, int(row.y) - margin
            area = drawn(int(row[3] == "liver"))[top : top + 256, left : left + 256]
            found = np.asarray(Image.open(io.BytesIO(archive.read(row.id))), float)
            expected = area.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
            assert np.abs(found - expected).mean() < 4
