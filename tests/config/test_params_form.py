"""params.yaml as DVC writes it, so that `dvc exp run -S` changes one line."""

import shutil
from pathlib import Path

from dvc.utils.hydra import apply_overrides

from tests.pipeline import ROOT


def test_dvc_changes_only_the_line_that_it_sets(tmp_path: Path) -> None:
    copy = Path(shutil.copy2(ROOT / "params.yaml", tmp_path))
    apply_overrides(str(copy), ["lr=0.25"])  # what `dvc exp run -S lr=0.25` does
    before, after = ((ROOT / "params.yaml").read_text().splitlines(), copy.read_text().splitlines())
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].strip() for line in changed] == ["lr: 0.25"]
