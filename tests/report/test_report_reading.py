"""What the page reads: complete, or refused with a message that helps."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.report_examples import run_report
from tissue.common.errors import InputError
from tissue.report.reading import MADE_BY, read_inputs


def test_missing_files_are_named_with_their_stage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics/scratch\.json \(stage evaluate\)") as caught:
        run_report(tmp_path)
    assert all(name in str(caught.value) for name in MADE_BY)
    assert not (tmp_path / "plots").exists()


def test_heat_maps_without_their_errors_are_refused(results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(results, tmp_path / "results")
    shown = pd.read_csv(copy / "data/predictions/gradcam.csv")
    shown.loc[3, "id"] = "test/liver/nowhere.jpg"
    shown.to_csv(copy / "data/predictions/gradcam.csv", index=False)
    with pytest.raises(InputError, match=r"expected images and models of errors\.csv") as caught:
        read_inputs(copy)
    assert f"{len(shown)}, of which {len(shown) - 1} are there" in str(caught.value)
